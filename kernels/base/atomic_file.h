// Files and folders that a program leaves behind: a kill or a full disk leaves either the old file
// or the new one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace dfengine {

// Writes "NAME.tmp-N" in the target's folder, syncs it, renames it over the target and syncs the
// folder. The target keeps its mode, and a symbolic link stays one: the file behind it is replaced.
// A pipe, a terminal, a character device and the file that the program prints into are written as
// they are. Throws Error with the path, the failed step and the system's reason; a file is then as
// it was and the temporary file is gone. There are two exceptions. If syncing the folder is what
// failed, the new file stands but may not survive a power cut. A killed process leaves its
// temporary file behind, which the next call for the same path removes.
void write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes);
// The same for text.
void write_text(const std::filesystem::path& path, const std::string& text);

// Removes the temporary files that killed processes left beside `path`. What cannot be removed
// stays.
void remove_temporaries(const std::filesystem::path& path);

// Makes the folder, and those above it, where they are not there yet. Throws Error naming it.
void make_folder(const std::filesystem::path& folder);

}  // namespace dfengine
