// write_file_atomic: either the old file or the new one, and no temporary file left.
#include "kernels/base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "kernels/base/error.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

using test::bytes_of;
using test::message_of;
using test::ScratchFolder;
using test::slurp;
using test::spill;

constexpr const char* kName = "best.safetensors";

// Root may write anywhere: become somebody else for a while.
class WithoutRoot {
 public:
  WithoutRoot() : before_(geteuid()) {
    if (before_ == 0) changed_ = seteuid(65534) == 0;
  }
  ~WithoutRoot() { EXPECT_TRUE(!changed_ || seteuid(before_) == 0); }
  bool ready() const { return geteuid() != 0; }

 private:
  uid_t before_;
  bool changed_ = false;
};

// Files longer than `size` cannot be written, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t size) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = size;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST(AtomicFile, WritesAndReplaces) {
  const ScratchFolder folder;
  write_file_atomic(folder.path() / kName, bytes_of("first, longer"));
  EXPECT_EQ(slurp(folder.path() / kName), "first, longer");
  write_file_atomic(folder.path() / kName, bytes_of("second"));
  EXPECT_EQ(slurp(folder.path() / kName), "second");
  write_file_atomic(folder.path() / kName, {});
  EXPECT_EQ(slurp(folder.path() / kName), "");
  EXPECT_EQ(folder.names(), std::vector<std::string>{kName});
}

TEST(AtomicFile, BareNameGoesToTheCurrentFolder) {
  const ScratchFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomic(kName, bytes_of("here"));
  std::filesystem::current_path(before);
  EXPECT_EQ(slurp(folder.path() / kName), "here");
}

TEST(AtomicFile, UnwritableFolderLeavesTheOldFile) {
  const ScratchFolder folder;
  spill(folder.path() / kName, "old");
  std::filesystem::permissions(folder.path(), std::filesystem::perms{0555});
  std::string message;
  {
    const WithoutRoot without_root;
    if (!without_root.ready()) GTEST_SKIP() << "runs as root and cannot become another user";
    message = message_of<Error>([&] { write_file_atomic(folder.path() / kName, bytes_of("new")); });
  }
  std::filesystem::permissions(folder.path(), std::filesystem::perms{0755});
  EXPECT_NE(message.find(kName), std::string::npos) << message;
  EXPECT_NE(message.find("Permission denied"), std::string::npos) << message;
  EXPECT_EQ(slurp(folder.path() / kName), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{kName});
}

TEST(AtomicFile, FailureInTheMiddleOfWritingLeavesTheOldFile) {
  const ScratchFolder folder;
  spill(folder.path() / kName, "old");
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = message_of<Error>(
        [&] { write_file_atomic(folder.path() / kName, std::vector<std::byte>(5000)); });
  }
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_EQ(slurp(folder.path() / kName), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{kName});
}

TEST(AtomicFile, FailureOfTheRenameLeavesNoTemporaryFile) {
  const ScratchFolder folder;
  std::filesystem::create_directory(folder.path() / kName);
  const auto message =
      message_of<Error>([&] { write_file_atomic(folder.path() / kName, bytes_of("new")); });
  EXPECT_NE(message.find("Is a directory"), std::string::npos) << message;
  EXPECT_EQ(folder.names(), std::vector<std::string>{kName});
}

TEST(MakeFolder, MakesThoseAboveItAndKeepsWhatIsThere) {
  const ScratchFolder folder;
  const std::filesystem::path deep = folder.path() / "a" / "b";
  make_folder(deep);
  make_folder(deep);
  EXPECT_TRUE(std::filesystem::is_directory(deep));
  spill(folder.path() / "file", "1");
  EXPECT_NE(message_of<Error>([&] {
              make_folder(folder.path() / "file" / "c");
            }).find("cannot make folder " + (folder.path() / "file" / "c").string()),
            std::string::npos);
}

TEST(AtomicFile, MissingFolder) {
  const ScratchFolder folder;
  const auto target = folder.path() / "missing" / kName;
  const auto message = message_of<Error>([&] { write_file_atomic(target, bytes_of("new")); });
  EXPECT_NE(message.find(target.string()), std::string::npos) << message;
  EXPECT_NE(message.find("No such file"), std::string::npos) << message;
}

}  // namespace
}  // namespace dfengine
