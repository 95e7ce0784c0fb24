// For LD_PRELOAD: counts the calls by which a program changes files, and kills it or fails at one
// of them.
//   CALLS_KILL=N   SIGKILL at the N-th call; of a write, half is done before
//   CALLS_FAIL=N   that call fails with CALLS_ERRNO (default ENOSPC)
//   CALLS_FILE     where the number of calls is written when the program ends
// Monotonic clocks run 1000 times as fast, so that checkpoints are written after nearly every step.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

long number_of(const char* variable, long otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::atol(text) : otherwise;
}

std::atomic<long> calls{0};

enum class Fate { Passes, Dies, Fails };

Fate next_call() {
  static const long kill_at = number_of("CALLS_KILL", 0), fail_at = number_of("CALLS_FAIL", 0);
  const long n = ++calls;
  if (n == fail_at) errno = static_cast<int>(number_of("CALLS_ERRNO", ENOSPC));
  return n == kill_at ? Fate::Dies : n == fail_at ? Fate::Fails : Fate::Passes;
}

[[noreturn]] void die() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool is_file(int fd) {
  struct stat status = {};
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

// Of a call that is done or not, whole.
template <class Call>
int whole(Call call) {
  switch (next_call()) {
    case Fate::Dies:
      die();
    case Fate::Fails:
      return -1;
    case Fate::Passes:
      break;
  }
  return call();
}

mode_t mode_of(int flags, std::va_list arguments) {
  return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
}

struct Report {
  ~Report() {
    const char* name = std::getenv("CALLS_FILE");
    if (name == nullptr) return;
    const long n = calls;
    if (std::FILE* file = std::fopen(name, "w")) {
      std::fprintf(file, "%ld\n", n);
      std::fclose(file);
    }
  }
} report;

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  static auto* const next = real<ssize_t(int, const void*, size_t)>("write");
  if (fd <= STDERR_FILENO || !is_file(fd)) return next(fd, bytes, count);
  switch (next_call()) {
    case Fate::Dies:
      next(fd, bytes, count / 2);
      die();
    case Fate::Fails:
      return -1;
    case Fate::Passes:
      break;
  }
  return next(fd, bytes, count);
}

int fsync(int fd) {
  static auto* const next = real<int(int)>("fsync");
  return whole([&] { return next(fd); });
}

int ftruncate(int fd, off_t length) noexcept {
  static auto* const next = real<int(int, off_t)>("ftruncate");
  return whole([&] { return next(fd, length); });
}

int fchmod(int fd, mode_t mode) noexcept {
  static auto* const next = real<int(int, mode_t)>("fchmod");
  return whole([&] { return next(fd, mode); });
}

int rename(const char* from, const char* to) noexcept {
  static auto* const next = real<int(const char*, const char*)>("rename");
  return whole([&] { return next(from, to); });
}

int renameat(int at, const char* from, int into, const char* to) noexcept {
  static auto* const next = real<int(int, const char*, int, const char*)>("renameat");
  return whole([&] { return next(at, from, into, to); });
}

int unlinkat(int at, const char* name, int flags) noexcept {
  static auto* const next = real<int(int, const char*, int)>("unlinkat");
  return whole([&] { return next(at, name, flags); });
}

int mkdir(const char* name, mode_t mode) noexcept {
  static auto* const next = real<int(const char*, mode_t)>("mkdir");
  return whole([&] { return next(name, mode); });
}

int open(const char* name, int flags, ...) {
  static auto* const next = real<int(const char*, int, ...)>("open");
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  if ((flags & O_CREAT) == 0) return next(name, flags);
  return whole([&] { return next(name, flags, mode); });
}

int openat(int at, const char* name, int flags, ...) {
  static auto* const next = real<int(int, const char*, int, ...)>("openat");
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  if ((flags & O_CREAT) == 0) return next(at, name, flags);
  return whole([&] { return next(at, name, flags, mode); });
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static auto* const next = real<int(clockid_t, timespec*)>("clock_gettime");
  const int status = next(clock, time);
  if (clock == CLOCK_MONOTONIC) {
    const long nanoseconds = time->tv_nsec * 1000;
    time->tv_sec = time->tv_sec % 1000000 * 1000 + nanoseconds / 1000000000;
    time->tv_nsec = nanoseconds % 1000000000;
  }
  return status;
}
}
