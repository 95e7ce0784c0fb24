// Runs on several ranks, here threads of one process: the same bits for any number of them, also
// where a run goes on with another number, and what they refuse.
#include <gtest/gtest.h>

#include <fstream>

#include "kernels/base/error.h"
#include "tests/engine/train/train_support.h"
#include "tests/support/thread_ranks.h"

namespace dfengine::test {
namespace {

class Ranks : public testing::Test {
 protected:
  TrainOptions options(const std::string& folder) const {
    TrainOptions o = tiny_options(scratch_.path() / folder);
    o.slices = 4;
    return o;
  }

  static void train_on(int ranks, const TrainOptions& o, bool resume = false, int steps = 0) {
    std::atomic<bool> interrupt{false};
    ThreadRanks::run(ranks, [&](Communicator& communicator) {
      TrainObserver observer;
      int done = 0;
      if (steps > 0 && communicator.rank() == 0)
        observer.step = [&](const TrainObserver::Progress&) { interrupt = ++done >= steps; };
      train(o, resume, observer, interrupt, std::nullopt, &communicator);
    });
  }

  // The same run on one, two and four ranks.
  void expect_same(const std::string& name, const std::function<void(TrainOptions&)>& change) {
    SCOPED_TRACE(name);
    TrainOptions first;
    for (const int ranks : {1, 2, 4}) {
      TrainOptions o = options(name + std::to_string(ranks));
      change(o);
      o.threads = ranks == 1 ? 2 : 1;
      train_on(ranks, o);
      if (ranks == 1)
        first = o;
      else
        expect_same_run(first.output, o.output);
    }
  }

  ScratchFolder scratch_;
};

TEST(ThreadRanks, SumIsOneTree) {
  // A sum in any other order loses the ones.
  const std::vector<float> values = {1e8f, -1e8f, 1, 1, 1e8f, 1, -1e8f, 1};
  const auto tree = [&](auto&& self, std::size_t begin, std::size_t n) -> float {
    return n == 1 ? values[begin] : self(self, begin, n / 2) + self(self, begin + n / 2, n / 2);
  };
  ThreadRanks::run(8, [&](Communicator& ranks) {
    std::vector<float> mine = {values[at(ranks.rank())], 2};
    ranks.sum(mine);
    EXPECT_EQ(mine, (std::vector<float>{tree(tree, 0, 8), 16}));
  });
}

TEST(ThreadRanks, GatherIsByRank) {
  ThreadRanks::run(4, [](Communicator& ranks) {
    const std::string mine(at(ranks.rank()), 'x');  // the first has nothing to say
    EXPECT_EQ(ranks.gather(mine), (std::vector<std::string>{"", "x", "xx", "xxx"}));
    EXPECT_TRUE(ranks.any(ranks.rank() == 3));
    EXPECT_FALSE(ranks.any(false));
    EXPECT_EQ(ranks.difference("same"), "");
    EXPECT_EQ(ranks.difference(ranks.rank() == 2 ? "b" : "a"), "rank 0 has a, rank 2 has b");
  });
}

TEST_F(Ranks, AnyNumberGivesTheSameBits) {
  expect_same("plain", [](TrainOptions&) {});
  expect_same("head", [](TrainOptions& o) { o.head_epochs = 1; });
  // An epoch's last step has fewer pictures than slices.
  expect_same("rest", [](TrainOptions& o) { o.batch_size = 15, o.slices = 4; });
  expect_same("all", [](TrainOptions& o) {
    o.mixup = 0.4;
    o.grad_accum_steps = 2;
    o.model_ema = true;
    o.clip_grad = 1;
    o.smoothing = 0.1;
    o.grad_checkpoint = true;
    o.augment.color_jitter = {0.2};
  });
}

TEST_F(Ranks, AnotherNumberGoesOn) {
  for (const int head_epochs : {0, 1}) {
    const std::string tail = std::to_string(head_epochs);
    TrainOptions straight = options("straight" + tail), broken = options("broken" + tail);
    straight.head_epochs = broken.head_epochs = head_epochs;
    train_on(2, straight);
    train_on(4, broken, false, 2);
    train_on(1, broken, true, 3);
    train_on(2, broken, true);
    expect_same_run(straight.output, broken.output);
  }
}

TEST_F(Ranks, UnreadablePicturesAreLeftOutAlike) {
  const std::filesystem::path data = scratch_.path() / "data";
  std::filesystem::copy(synth_set(), data, std::filesystem::copy_options::recursive);
  int spoiled = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data / "train"))
    if (entry.is_regular_file() && ++spoiled % 7 == 0) std::ofstream(entry.path()) << "no picture";
  for (const int head_epochs : {0, 1})
    expect_same("bad" + std::to_string(head_epochs), [&](TrainOptions& o) {
      o.data = data;
      o.on_bad = OnBad::Skip;
      o.head_epochs = head_epochs;
    });
  EXPECT_EQ(slurp(scratch_.path() / "bad01" / kBadFiles),
            slurp(scratch_.path() / "bad04" / kBadFiles));
}

TEST_F(Ranks, DifferencesAreRefused) {
  const auto fault = [&](auto&& change) {
    std::string message;
    try {
      ThreadRanks::run(2, [&](Communicator& ranks) {
        TrainOptions o = options("never");
        if (ranks.rank() == 1) change(o);
        const std::atomic<bool> never{false};
        train(o, false, {}, never, std::nullopt, &ranks);
      });
    } catch (const Error& e) {
      message = e.what();
    }
    return message;
  };
  EXPECT_NE(fault([](TrainOptions& o) { o.lr = 0.5; }).find("differ in the setting lr: rank 0"),
            std::string::npos);
  SynthOptions other;
  other.output = scratch_.path() / "other";
  other.count = 60;
  other.seed = 6;
  write_synth_set(other);
  EXPECT_NE(fault([&](TrainOptions& o) { o.data = other.output; }).find("differ in pictures"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "never"));
}

// As many slices as ranks, and nothing else: on one rank whole batches.
TEST_F(Ranks, FastReduceIsASliceARank) {
  for (const int ranks : {1, 2, 4}) {
    TrainOptions fast = options("fast" + std::to_string(ranks)),
                 sliced = options("sliced" + std::to_string(ranks));
    fast.slices = 0;
    fast.fast_reduce = true;
    sliced.slices = ranks == 1 ? 0 : ranks;
    train_on(ranks, fast);
    train_on(1, sliced);
    expect_same_checkpoint(sliced.output, fast.output);
    EXPECT_TRUE(nlohmann::json::parse(slurp(fast.output / "args.json")).at("fast_reduce"));
  }
  TrainOptions broken = options("broken");
  broken.slices = 0;
  broken.fast_reduce = true;
  train_on(4, broken, false, 2);
  train_on(2, broken, true);  // and says so
  broken.slices = 4;
  EXPECT_THROW(broken.validate(), UsageError);
}

TEST_F(Ranks, WholeBatchesAreOfOneProcess) {
  TrainOptions o = options("whole");
  o.slices = 0;
  train_on(1, o, false, 2);
  EXPECT_THROW(train_on(2, o, true), UsageError);
  o = options("few");
  o.slices = 2;
  EXPECT_THROW(train_on(4, o), UsageError);
}

}  // namespace
}  // namespace dfengine::test
