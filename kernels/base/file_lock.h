// Files and folders that one process at a time writes. The system drops a lock when its process
// ends, however it ends.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <span>

#include "kernels/base/unique_fd.h"

namespace dfengine {

enum class Lock { Taken, HeldByAnother, Unsupported };

// Locks what `fd` has open until it is closed; does not wait. Unsupported: the file system has no
// locks, as some on a network.
Lock try_lock(int fd);

// Holds the folder until it is closed. Throws Error when another process holds it, or when it
// cannot be opened. Where the file system has no locks, nothing is held.
UniqueFd lock_folder(const std::filesystem::path& folder);

// Opens an unfinished file, to read and to go on with, or makes an empty one; no other process has
// it until it is closed or renamed. Throws Error when one has, and when `path` is a link or no
// file: what somebody else left there is not written to.
UniqueFd open_part(const std::filesystem::path& path);

// Whether both tell of one file, by whatever names.
bool same_file(const struct stat& a, const struct stat& b);

// Throws Error with the path, the step that failed and the system's reason, which must still be in
// errno.
[[noreturn]] void fail_with_errno(const std::filesystem::path& path, const char* step);

// Writes all bytes where the file stands. False with errno when the system refuses: a closed pipe
// and a limit on the size of files too are errors, and raise no signal.
bool write_all(int fd, std::span<const std::byte> bytes);

}  // namespace dfengine
