#include "kernels/base/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// Keeps the signals of a refused write() from this thread, which sees errno instead.
class WithoutWriteSignals {
 public:
  WithoutWriteSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGPIPE);
    sigaddset(&signals_, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  WithoutWriteSignals(const WithoutWriteSignals&) = delete;
  WithoutWriteSignals& operator=(const WithoutWriteSignals&) = delete;
  ~WithoutWriteSignals() {
    const int error = errno;
    const timespec at_once = {};
    while (sigtimedwait(&signals_, nullptr, &at_once) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }

 private:
  sigset_t signals_, before_;
};

}  // namespace

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

void fail_with_errno(const std::filesystem::path& path, const char* step) {
  const char* reason = std::strerror(errno);
  throw Error(fmt::format("{}: cannot {}: {}", path.string(), step, reason));
}

Lock try_lock(int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return Lock::Taken;
  return errno == EWOULDBLOCK ? Lock::HeldByAnother : Lock::Unsupported;
}

UniqueFd lock_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  UniqueFd open(fd);
  if (!open) fail_with_errno(folder, "open the folder");
  if (try_lock(fd) == Lock::HeldByAnother)
    throw Error(folder.string() +
                ": another process writes a run into this folder: wait for it, or name another "
                "--output");
  return open;
}

UniqueFd open_part(const std::filesystem::path& path) {
  for (;;) {
    UniqueFd file(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666));
    if (!file && errno == EINTR) continue;
    if (!file) fail_with_errno(path, errno == ELOOP ? "write to a link" : "create");
    struct stat opened = {}, named = {};
    if (::fstat(file.get(), &opened) != 0) fail_with_errno(path, "look at");
    if (!S_ISREG(opened.st_mode) || opened.st_nlink > 1)
      throw Error(
          path.string() +
          ": is no unfinished file of dfengine: it has another name, or is no file; remove it");
    if (try_lock(file.get()) == Lock::HeldByAnother)
      throw Error(path.string() + ": another process writes it: wait for it");
    // That process may have renamed it since it was opened here.
    if (::lstat(path.c_str(), &named) == 0 && same_file(opened, named)) return file;
  }
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  const WithoutWriteSignals guard;
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace dfengine
