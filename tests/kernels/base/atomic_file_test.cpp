// write_file_atomic: either the old file or the new one, of the old one's kind and mode, and no
// temporary file left.
#include "kernels/base/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/base/file_lock.h"
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
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = size;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
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

TEST(AtomicFile, KeepsTheModeOfAFileAndMakesNewOnesByTheMask) {
  const ScratchFolder folder;
  const auto mode_of = [&](const char* name) {
    return std::filesystem::status(folder.path() / name).permissions();
  };
  for (const unsigned mode : {0600U, 0640U, 0444U}) {
    spill(folder.path() / kName, "old");
    std::filesystem::permissions(folder.path() / kName, std::filesystem::perms{mode});
    write_file_atomic(folder.path() / kName, bytes_of("new"));
    EXPECT_EQ(slurp(folder.path() / kName), "new");
    EXPECT_EQ(mode_of(kName), std::filesystem::perms{mode});
    std::filesystem::remove(folder.path() / kName);
  }
  const mode_t before = umask(027);
  write_file_atomic(folder.path() / kName, bytes_of("new"));
  umask(before);
  EXPECT_EQ(mode_of(kName), std::filesystem::perms{0640});
}

TEST(AtomicFile, WritesWhatALinkLeadsTo) {
  const ScratchFolder folder;
  const auto path = folder.path();
  std::filesystem::create_directory(path / "far");
  spill(path / "far" / "file", "old");
  std::filesystem::create_symlink("far/file", path / "link");
  std::filesystem::create_symlink(path / "link", path / "link to a link");
  std::filesystem::create_symlink("far/new", path / "link to nothing");
  write_file_atomic(path / "link to a link", bytes_of("new"));
  write_file_atomic(path / "link to nothing", bytes_of("newer"));
  EXPECT_EQ(slurp(path / "far" / "file"), "new");
  EXPECT_EQ(slurp(path / "far" / "new"), "newer");
  for (const char* name : {"link", "link to a link", "link to nothing"})
    EXPECT_TRUE(std::filesystem::is_symlink(path / name)) << name;
  std::filesystem::create_symlink("b", path / "a");
  std::filesystem::create_symlink("a", path / "b");
  EXPECT_NE(message_of<Error>([&] { write_file_atomic(path / "a", {}); }).find("symbolic links"),
            std::string::npos);
}

TEST(AtomicFile, WritesIntoAPipe) {
  const ScratchFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] { got = slurp(pipe); });
  write_file_atomic(pipe, bytes_of("through"));
  reader.join();
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST(AtomicFile, AClosedPipeIsAnError) {
  const ScratchFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string message;
  std::thread writer([&] {
    const std::vector<std::byte> more_than_a_pipe_holds(1 << 20);
    message = message_of<Error>([&] { write_file_atomic(pipe, more_than_a_pipe_holds); });
  });
  { const UniqueFd reader(open(pipe.c_str(), O_RDONLY)); }
  writer.join();
  EXPECT_NE(message.find("Broken pipe"), std::string::npos) << message;
}

TEST(AtomicFile, DevicesStayDevices) {
  write_file_atomic("/dev/null", bytes_of("gone"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_NE(message_of<Error>([&] {
              write_file_atomic("/dev/full", bytes_of("x"));
            }).find("No space left"),
            std::string::npos);
}

TEST(AtomicFile, WhatTheProgramPrintsIntoIsGoneOnWith) {
  const ScratchFolder folder;
  const auto file = folder.path() / kName;
  const int before = dup(STDOUT_FILENO);
  std::fflush(stdout);
  const UniqueFd out(open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
  dup2(out.get(), STDOUT_FILENO);
  std::fputs("first ", stdout);
  write_file_atomic("/dev/stdout", bytes_of("second "));
  std::fputs("third", stdout);
  std::fflush(stdout);
  dup2(before, STDOUT_FILENO);
  close(before);
  EXPECT_EQ(slurp(file), "first second third");
}

TEST(AtomicFile, TheNextCallRemovesWhatAKilledProcessLeft) {
  const ScratchFolder folder;
  spill(folder.path() / (std::string(kName) + ".tmp-0"), "half");
  spill(folder.path() / "other.tmp-0", "half");
  write_file_atomic(folder.path() / kName, bytes_of("new"));
  EXPECT_EQ(folder.names(), (std::vector<std::string>{kName, "other.tmp-0"}));
}

TEST(AtomicFile, LeavesWhatALivingProcessWritesAndFollowsNoLink) {
  const ScratchFolder folder;
  const std::string held = std::string(kName) + ".tmp-0", planted = std::string(kName) + ".tmp-1";
  const UniqueFd other(open((folder.path() / held).c_str(), O_WRONLY | O_CREAT, 0600));
  ASSERT_EQ(try_lock(other.get()), Lock::Taken);
  spill(folder.path() / "victim", "precious");
  std::filesystem::create_symlink("victim", folder.path() / planted);
  write_file_atomic(folder.path() / kName, bytes_of("new"));
  remove_temporaries(folder.path() / kName);
  EXPECT_EQ(slurp(folder.path() / "victim"), "precious");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{kName, held, planted, "victim"}));
}

TEST(OpenPart, FollowsNoLinkAndTakesNoOtherFilesContent) {
  const ScratchFolder folder;
  const auto part = folder.path() / "x.part", victim = folder.path() / "victim";
  spill(victim, "precious");
  std::filesystem::create_symlink("victim", part);
  EXPECT_NE(message_of<Error>([&] { open_part(part); }).find("link"), std::string::npos);
  std::filesystem::remove(part);
  std::filesystem::create_hard_link(victim, part);
  EXPECT_NE(message_of<Error>([&] { open_part(part); }).find("another name"), std::string::npos);
  std::filesystem::remove(part);
  ASSERT_EQ(mkfifo(part.c_str(), 0600), 0);
  EXPECT_NE(message_of<Error>([&] { open_part(part); }).find("no file"), std::string::npos);
  EXPECT_EQ(slurp(victim), "precious");
}

TEST(OpenPart, OneProcessAtATime) {
  const ScratchFolder folder;
  {
    const UniqueFd first = open_part(folder.path() / "x.part");
    EXPECT_NE(
        message_of<Error>([&] { open_part(folder.path() / "x.part"); }).find("another process"),
        std::string::npos);
  }
  EXPECT_TRUE(open_part(folder.path() / "x.part"));
}

TEST(LockFolder, OneProcessAtATime) {
  const ScratchFolder folder;
  {
    const UniqueFd first = lock_folder(folder.path());
    EXPECT_NE(message_of<Error>([&] { lock_folder(folder.path()); }).find("another process"),
              std::string::npos);
  }
  EXPECT_TRUE(lock_folder(folder.path()));
  EXPECT_NE(message_of<Error>([&] { lock_folder(folder.path() / "none"); }).find("none"),
            std::string::npos);
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
