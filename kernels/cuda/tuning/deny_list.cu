#include "kernels/cuda/tuning/deny_list.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <span>
#include <string_view>

#include "kernels/base/sha256.h"
#include "kernels/base/unique_fd.h"

namespace dfengine::cuda {
namespace {

namespace fs = std::filesystem;

// What a file ends with where no further process may try the kernel, if this one ends too.
constexpr std::string_view kLast = "the last time\n";

enum class LeftBehind { No, Once, Twice };

// Whoever tries a kernel holds its file locked; the system lets go when the process ends. Who ended
// well has taken the file's name away, which may happen after it was opened here.
LeftBehind left_behind(const fs::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (!fd || ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 || ::fstat(fd.get(), &status) != 0 ||
      status.st_nlink == 0)
    return LeftBehind::No;
  std::array<char, kLast.size()> end = {};
  const bool is_last = ::pread(fd.get(), end.data(), end.size(),
                               status.st_size - std::ssize(end)) == std::ssize(end) &&
                       std::string_view(end.data(), end.size()) == kLast;
  return is_last ? LeftBehind::Twice : LeftBehind::Once;
}

// The file of a kernel while it is tried.
class Mark {
 public:
  Mark(const fs::path& file, const std::string& text) : file_(file) {
    static std::atomic<int> count{0};
    std::error_code failed;
    fs::create_directories(file.parent_path(), failed);
    // It gets its name when it is locked, for without a lock it stands for a process that ended.
    const fs::path temporary =
        file.string() + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
    fd_.emplace(::open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
    if (!*fd_) return;
    stands_ = ::flock(fd_->get(), LOCK_EX | LOCK_NB) == 0 && write(text) &&
              ::rename(temporary.c_str(), file.c_str()) == 0;
    if (!stands_) ::unlink(temporary.c_str());
  }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  // The name goes before the lock does.
  ~Mark() {
    if (stands_ && !keep_) ::unlink(file_.c_str());
  }
  bool stands() const { return stands_; }
  void keep() {
    keep_ = true;
    write(kLast);
  }

 private:
  bool write(std::string_view text) const {
    return ::write(fd_->get(), text.data(), text.size()) == std::ssize(text);
  }

  fs::path file_;
  std::optional<UniqueFd> fd_;
  bool stands_ = false, keep_ = false;
};

}  // namespace

const std::string& DenyList::machine() {
  if (!asked_) asked_ = machine_();
  return *asked_;
}

void DenyList::attempt(const std::string& kernel, const std::function<void()>& body) {
  std::optional<Mark> mark;
  std::string advice = "; start again";
  if (folder_) {
    std::string text = machine() + "\n" + kernel + "\n";
    constexpr std::size_t kDigits = 16;
    const fs::path file =
        *folder_ / (sha256_hex(std::as_bytes(std::span(text))).substr(0, kDigits) + ".txt");
    const LeftBehind before = left_behind(file);
    if (before == LeftBehind::Twice)
      throw DeviceError("ended the program or its CUDA context when it was tried before; remove " +
                        file.string() + " to try it again");
    if (before == LeftBehind::Once) text += kLast;
    mark.emplace(file, text);
    if (mark->stands())
      advice = "; the next start leaves it out (" + file.string() + "): start again";
  }
  try {
    body();
  } catch (const DeviceLost& e) {
    if (mark && mark->stands()) mark->keep();
    throw DeviceLost(kernel + ": the CUDA context is lost: " + e.what() + advice);
  }
}

}  // namespace dfengine::cuda
