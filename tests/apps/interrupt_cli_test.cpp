// Runs that are stopped, moved, lengthened, or watched on a narrow terminal.
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

#include "engine/train/checkpoint.h"
#include "engine/train/run_files.h"
#include "tests/apps/cli_support.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::contains;
using test::Inside;
using test::model_file;
using test::Outcome;
using test::picture_set;
using test::run_program;
using test::ScratchFolder;
using test::slurp;
using test::train_arguments;
using test::trained_run;
using Words = std::vector<std::string>;

class Stopped : public testing::TestWithParam<int> {};

TEST_P(Stopped, TrainLeavesACheckpoint) {
  const ScratchFolder scratch;
  const fs::path run = scratch.path() / "run";
  bool sent = false;
  const Outcome o = run_program(train_arguments(run), [&](pid_t child, const std::string& out) {
    if (!sent && contains(out, "img/s")) kill(child, GetParam());
    sent |= contains(out, "img/s");
  });
  ASSERT_EQ(o.code, 130) << o.out << o.err;
  EXPECT_TRUE(contains(o.err, "--resume")) << o.err;
  EXPECT_GT(load_checkpoint(run / kCheckpoint).state.total_steps, 0U);
}

INSTANTIATE_TEST_SUITE_P(Signals, Stopped, testing::Values(SIGINT, SIGTERM, SIGHUP));

TEST(PredictCommand, CtrlCKeepsTheAnswersThatThereAre) {
  const ScratchFolder scratch;
  constexpr std::size_t kPictures = 20000;
  Words words = {"predict", "--model", model_file(), "--threads", "1", "--format", "csv"};
  words.insert(words.end(), kPictures,
               fs::directory_iterator(picture_set() + "/test/real")->path().string());
  test::spill(scratch.path() / "out", "");
  test::spill(scratch.path() / "err", "");
  const int out = open((scratch.path() / "out").c_str(), O_WRONLY | O_CLOEXEC);
  const int err = open((scratch.path() / "err").c_str(), O_WRONLY | O_CLOEXEC);
  const pid_t child = test::detail::spawn(words, out, err);
  // Answers come as they are made.
  while (fs::file_size(scratch.path() / "out") < 1000)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGINT);
  EXPECT_EQ(test::detail::wait_for(child), 130);
  close(out);
  close(err);
  const auto rows = test::parse_csv(slurp(scratch.path() / "out"));
  ASSERT_GT(rows.size(), 1U);
  ASSERT_LE(rows.size(), kPictures);
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_FALSE(rows[i].at(1).empty());
  const std::string expected = "interrupted: " + std::to_string(rows.size() - 1) + " answered";
  EXPECT_TRUE(contains(slurp(scratch.path() / "err"), expected));
}

// What a command writes to a terminal of so many columns.
std::string on_terminal(const Words& words, unsigned columns) {
  int terminal = -1, inside = -1;
  winsize size = {
      .ws_row = 24, .ws_col = static_cast<unsigned short>(columns), .ws_xpixel = 0, .ws_ypixel = 0};
  EXPECT_EQ(openpty(&terminal, &inside, nullptr, nullptr, &size), 0);
  fcntl(terminal, F_SETFD, FD_CLOEXEC);
  const pid_t child = test::detail::spawn(words, inside, inside);
  close(inside);
  std::string text;
  std::array<char, 4096> chunk;
  for (ssize_t n; (n = read(terminal, chunk.data(), chunk.size())) > 0;)
    text.append(chunk.data(), static_cast<std::size_t>(n));
  EXPECT_EQ(test::detail::wait_for(child), 0);
  close(terminal);
  return text;
}

TEST(TrainCommand, TheProgressLineFitsTheTerminal) {
  for (const unsigned columns : {12U, 40U, 200U}) {
    const ScratchFolder scratch;
    const std::string text = on_terminal(train_arguments(scratch.path() / "run"), columns);
    constexpr std::string_view kRedraw = "\r\x1b[K";
    std::size_t drawn = 0, longest = 0;
    for (std::size_t at = text.find(kRedraw); at != text.npos; at = text.find(kRedraw, at + 1)) {
      const std::string line = text.substr(
          at + kRedraw.size(), text.find_first_of("\r\n", at + 1) - at - kRedraw.size());
      if (!line.starts_with("[")) continue;
      ++drawn;
      longest = std::max(longest, line.size());
    }
    EXPECT_GE(drawn, 8U);
    EXPECT_LT(longest, columns);
    EXPECT_GE(longest, std::min<std::size_t>(columns - 1U, 60));
  }
}

// A terminal that goes away: SIGHUP, and nothing can be written any more.
TEST(TrainCommand, AClosedTerminalLeavesACheckpoint) {
  const ScratchFolder scratch;
  const fs::path run = scratch.path() / "run";
  Words words = train_arguments(run);
  *std::ranges::find(words, "2") = "2000";  // epochs
  int terminal = -1;
  std::string program = test::program();
  std::vector<char*> argv = {program.data()};
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  const pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == 0) {
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  std::string text;
  std::array<char, 4096> chunk;
  while (!contains(text, "img/s")) {
    const ssize_t n = read(terminal, chunk.data(), chunk.size());
    ASSERT_GT(n, 0) << text;
    text.append(chunk.data(), static_cast<std::size_t>(n));
  }
  close(terminal);
  test::detail::wait_for(child);
  const TrainState state = load_checkpoint(run / kCheckpoint).state;
  EXPECT_GT(state.total_steps, 0U);
  EXPECT_FALSE(state.finished);
}

TEST(TrainCommand, AFinishedRunGoesOnToMoreEpochs) {
  const ScratchFolder scratch;
  const fs::path run = scratch.path() / "run";
  fs::copy(trained_run(), run, fs::copy_options::recursive);
  const Words resume = {"train", "--resume", "--output", run.string(), "--threads", "1"};
  const auto with_epochs = [&](const char* epochs) {
    Words words = resume;
    words.insert(words.end(), {"--epochs", epochs});
    return run_program(words);
  };
  EXPECT_EQ(with_epochs("2").code, 0);
  EXPECT_EQ(test::parse_csv(slurp(run / kResults)).size(), 3U);
  const Outcome fewer = with_epochs("1");
  EXPECT_EQ(fewer.code, 2);
  EXPECT_TRUE(contains(fewer.err, "--epochs 1") && contains(fewer.err, "was begun for 2"))
      << fewer.err;
  const Outcome more = with_epochs("3");
  EXPECT_EQ(more.code, 0) << more.err;
  EXPECT_TRUE(contains(more.out, "goes on at epoch 3")) << more.out;
  EXPECT_EQ(test::parse_csv(slurp(run / kResults)).size(), 4U);
  EXPECT_EQ(json::parse(slurp(run / kArguments)).at("epochs"), 3);
  EXPECT_EQ(load_checkpoint(run / kCheckpoint).state.epoch, 3);
  EXPECT_EQ(run_program(resume).code, 0);
  EXPECT_EQ(load_checkpoint(run / kCheckpoint).options.epochs, 3);
}

// "For more of them": in the first epoch of many a few are no less fewer.
TEST(TrainCommand, ARunIsNotCutShortByResuming) {
  const ScratchFolder scratch;
  const fs::path run = scratch.path() / "run";
  fs::copy(trained_run(), run, fs::copy_options::recursive);
  Checkpoint checkpoint = load_checkpoint(run / kCheckpoint);
  checkpoint.options.epochs = 40;
  checkpoint.state.finished = false;
  TrainOptions given;
  given.output = run;
  EXPECT_THROW(resumed_options(given, 39, checkpoint), UsageError);
  EXPECT_EQ(resumed_options(given, 40, checkpoint).epochs, 40);
  EXPECT_EQ(resumed_options(given, 41, checkpoint).epochs, 41);
}

TEST(TrainCommand, ARunGoesOnFromAnotherFolderAndAfterItsPicturesMoved) {
  const ScratchFolder scratch;
  fs::copy(picture_set(), scratch.path() / "faces", fs::copy_options::recursive);
  Words words = train_arguments("run");
  words[2] = "faces";
  {
    const Inside there(scratch.path());
    ASSERT_EQ(run_program(words).code, 0);
  }
  const fs::path run = scratch.path() / "run";
  const Words resume = {"train", "--resume", "--output", run.string(), "--epochs", "3"};
  EXPECT_EQ(run_program(resume).code, 0);
  fs::rename(scratch.path() / "faces", scratch.path() / "moved");
  Words more = resume;
  more.back() = "4";
  const Outcome lost = run_program(more);
  EXPECT_EQ(lost.code, 3);
  EXPECT_TRUE(contains(lost.err, "faces does not exist") && contains(lost.err, "--data"))
      << lost.err;
  more.insert(more.end(), {"--data", (scratch.path() / "moved").string()});
  const Outcome found = run_program(more);
  EXPECT_EQ(found.code, 0) << found.err;
}

TEST(EvalCommand, AFolderWithoutSplitsIsMeasuredWhole) {
  const ScratchFolder scratch;
  const Outcome o = run_program({"eval", "--model", model_file(), "--data", picture_set() + "/test",
                                 "--output", scratch.path().string()});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "all: 2 real + 2 fake")) << o.out;
  EXPECT_EQ(json::parse(slurp(scratch.path() / "metrics.json")).at("split"), "all");
}

TEST(Usage, WithoutACommandTheCommandsAreShown) {
  const Outcome o = run_program({});
  EXPECT_EQ(o.code, 2);
  for (const char* command : {"train", "eval", "predict", "Exit codes"})
    EXPECT_TRUE(contains(o.err, command)) << o.err;
}

}  // namespace
}  // namespace dfengine
