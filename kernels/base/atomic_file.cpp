// Temporary file, sync, rename, sync of the folder.
#include "kernels/base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/file_lock.h"

namespace dfengine {
namespace {

// Removes the file if nobody holds it: then a killed process left it. A link is no such file.
bool remove_if_left(int folder, const std::string& name) {
  const UniqueFd fd(openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat opened = {}, named = {};
  return fd && fstat(fd.get(), &opened) == 0 && S_ISREG(opened.st_mode) &&
         try_lock(fd.get()) == Lock::Taken &&
         // Under the lock the name stays what it is.
         fstatat(folder, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         same_file(opened, named) && unlinkat(folder, name.c_str(), 0) == 0;
}

// A new file in a folder that is removed again unless it was renamed. It is locked, so that what
// nobody holds is known to be left by a killed process.
class TemporaryFile {
 public:
  TemporaryFile(int folder, const std::filesystem::path& target)
      : folder_(folder), target_(target), fd_(create()) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!renamed_) unlinkat(folder_, name_.c_str(), 0);
  }

  void write(std::span<const std::byte> bytes) {
    if (!write_all(fd_.get(), bytes)) fail_with_errno(target_, "write its temporary file");
    if (fsync(fd_.get()) != 0) fail_with_errno(target_, "sync its temporary file");
  }

  // As the file had it that this one replaces; its owner stays where the system allows that.
  void take_mode_of(const struct stat& old) {
    if (fchown(fd_.get(), old.st_uid, old.st_gid) != 0) errno = 0;
    if (fchmod(fd_.get(), old.st_mode & 0777) != 0)
      fail_with_errno(target_, "keep the mode of the old file");
  }

  void rename_to_target() {
    if (renameat(folder_, name_.c_str(), folder_, target_.filename().c_str()) != 0) {
      fail_with_errno(target_, "rename its temporary file over it");
    }
    renamed_ = true;
  }

 private:
  // The first name that is free once what a killed process left is removed.
  UniqueFd create() {
    for (unsigned n = 0;;) {
      name_ = fmt::format("{}.tmp-{}", target_.filename().string(), n);
      UniqueFd fd(openat(folder_, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (!fd && errno == EINTR) continue;
      if (!fd && errno != EEXIST) fail_with_errno(target_, "create a temporary file beside it");
      struct stat made = {};
      // Who looks for what is left may have come before the lock.
      if (fd && try_lock(fd.get()) != Lock::HeldByAnother && fstat(fd.get(), &made) == 0 &&
          made.st_nlink > 0)
        return fd;
      if (fd || !remove_if_left(folder_, name_)) ++n;
    }
  }

  int folder_;
  const std::filesystem::path& target_;
  std::string name_;
  UniqueFd fd_;
  bool renamed_ = false;
};

// What a link that leads nowhere yet names.
std::filesystem::path behind_links(std::filesystem::path path) {
  constexpr int kMostLinks = 40;
  std::error_code error;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(path, error); ++i)
    path = path.parent_path() / std::filesystem::read_symlink(path, error);
  return path;
}

// The descriptor by which the program prints into this file; -1: it does not.
int printed_into(const struct stat& target) {
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat open = {};
    if (fstat(fd, &open) == 0 && same_file(open, target)) return fd;
  }
  return -1;
}

// A pipe, a terminal, /dev/null or what the program prints into: written as it is, not replaced.
void write_through(const std::filesystem::path& path, const struct stat& target,
                   std::span<const std::byte> bytes) {
  if (S_ISDIR(target.st_mode) || S_ISBLK(target.st_mode)) {
    errno = S_ISDIR(target.st_mode) ? EISDIR : ENOTSUP;
    fail_with_errno(path, "write");
  }
  int fd = printed_into(target);
  // What was printed before comes first.
  if (fd >= 0) std::fflush(nullptr);
  const UniqueFd opened(fd >= 0 ? -1 : open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (fd < 0) fd = opened.get();
  if (fd < 0) fail_with_errno(path, "open");
  if (!write_all(fd, bytes)) fail_with_errno(path, "write");
}

}  // namespace

void write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  struct stat old = {};
  const bool exists = stat(path.c_str(), &old) == 0;
  if (!exists && errno != ENOENT) fail_with_errno(path, "look at");
  if (exists && (!S_ISREG(old.st_mode) || printed_into(old) >= 0))
    return write_through(path, old, bytes);
  const std::filesystem::path target = behind_links(path);
  const std::filesystem::path parent = target.has_parent_path() ? target.parent_path() : ".";
  const UniqueFd folder(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) fail_with_errno(path, "open its folder");
  TemporaryFile temporary(folder.get(), target);
  temporary.write(bytes);
  if (exists) temporary.take_mode_of(old);
  temporary.rename_to_target();
  // EINVAL: the file system does not sync folders.
  if (fsync(folder.get()) != 0 && errno != EINVAL) fail_with_errno(path, "sync its folder");
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  write_file_atomic(path, std::as_bytes(std::span(text)));
}

void remove_temporaries(const std::filesystem::path& path) {
  const std::string prefix = path.filename().string() + ".tmp-";
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  const UniqueFd folder(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::error_code error;
  std::vector<std::string> found;
  for (std::filesystem::directory_iterator it(parent, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(prefix) &&
        name.find_first_not_of("0123456789-", prefix.size()) == std::string::npos)
      found.push_back(name);
  }
  for (const std::string& name : found) remove_if_left(folder.get(), name);
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error("cannot make folder " + folder.string() + ": " + error.message());
}

}  // namespace dfengine
