// Temporary file, sync, rename, sync of the folder.
#include "kernels/base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/unique_fd.h"

namespace dfengine {
namespace {

// Throws with the reason in errno, which must still be that of the failed call.
[[noreturn]] void fail(const std::filesystem::path& path, const char* step) {
  const char* reason = std::strerror(errno);
  throw Error(fmt::format("{}: cannot {}: {}", path.string(), step, reason));
}

// A new file in a folder that is removed again unless it was renamed.
class TemporaryFile {
 public:
  TemporaryFile(int folder, const std::filesystem::path& target)
      : folder_(folder), target_(target), fd_(create()) {
    if (!fd_) fail(target_, "create a temporary file beside it");
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!renamed_) unlinkat(folder_, name_.c_str(), 0);
  }

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(target_, "write its temporary file");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    if (fsync(fd_.get()) != 0) fail(target_, "sync its temporary file");
    if (fd_.close() != 0) fail(target_, "close its temporary file");
  }

  void rename_to_target() {
    if (renameat(folder_, name_.c_str(), folder_, target_.filename().c_str()) != 0) {
      fail(target_, "rename its temporary file over it");
    }
    renamed_ = true;
  }

 private:
  // Another process or thread, or a killed one with our number, may have taken a name: try the
  // next. Returns the descriptor, or -1 with errno.
  int create() {
    static std::atomic<unsigned> next{0};
    int fd = -1;
    do {
      name_ = fmt::format("{}.tmp-{}-{}", target_.filename().string(), getpid(), next++);
      fd = openat(folder_, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && (errno == EEXIST || errno == EINTR));
    return fd;
  }

  int folder_;
  const std::filesystem::path& target_;
  std::string name_;
  UniqueFd fd_;
  bool renamed_ = false;
};

}  // namespace

void write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  const UniqueFd folder(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) fail(path, "open its folder");
  TemporaryFile temporary(folder.get(), path);
  temporary.write(bytes);
  temporary.rename_to_target();
  // EINVAL: the file system does not sync folders.
  if (fsync(folder.get()) != 0 && errno != EINVAL) fail(path, "sync its folder");
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  write_file_atomic(path, std::as_bytes(std::span(text)));
}

void remove_temporaries(const std::filesystem::path& path) {
  const std::string prefix = path.filename().string() + ".tmp-";
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code error, ignored;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator it(parent, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    const std::string numbers = name.substr(prefix.size());
    if (numbers.find_first_not_of("0123456789-") == std::string::npos) found.push_back(it->path());
  }
  for (const std::filesystem::path& file : found) std::filesystem::remove(file, ignored);
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error("cannot make folder " + folder.string() + ": " + error.message());
}

}  // namespace dfengine
