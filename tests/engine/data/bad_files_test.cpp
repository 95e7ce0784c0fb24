// Pictures that cannot be read: left out of their batch alone, listed once, the same bits for any
// threads, interrupted or not.
#include "engine/data/sets/bad_files.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/train/train_support.h"

namespace dfengine {
namespace {

using test::ScratchFolder;
using test::TempDir;

class LeftOutTest : public testing::Test {
 protected:
  LeftOutTest() {
    data_.root = dir_.path();
    data_.split = "train";
    for (int i = 0; i < 10; ++i) {
      const std::string name = std::to_string(i) + ".bmp";
      dir_.write_bmp(name, test::pattern(8, 8, 17 * i));
      data_.samples.push_back({name, i % 2});
    }
    options_.batch = 4;
    options_.size = 8;
    options_.shuffle = true;
    options_.on_bad = OnBad::Skip;
  }
  std::vector<Batch> epoch(Loader& loader, std::uint64_t number) {
    loader.start(number);
    std::vector<Batch> all;
    for (Batch batch; loader.next(batch); batch = Batch{}) all.push_back(batch);
    return all;
  }

  TempDir dir_;
  Dataset data_;
  LoaderOptions options_;
};

TEST_F(LeftOutTest, OnlyTheirOwnPlacesAreMissing) {
  Loader whole_loader(data_, options_);
  const auto whole = epoch(whole_loader, 2);
  const std::set<std::uint32_t> broken = {1, 2, 5, 6, 9};
  for (std::uint32_t i : broken) dir_.write(data_.samples[i].relative, "broken");
  for (int threads : {1, 2, 8}) {
    for (std::uint64_t cache : {0u, 1u << 20}) {
      options_.threads = threads;
      options_.cache_bytes = cache;
      Loader loader(data_, options_);
      epoch(loader, 0);  // a later epoch meets them the same way
      const auto batches = epoch(loader, 2);
      ASSERT_EQ(batches.size(), whole.size());
      for (std::size_t b = 0; b < batches.size(); ++b) {
        Batch expected;
        std::vector<std::uint32_t> left_out;
        for (std::size_t k = 0; k < whole[b].indices.size(); ++k) {
          if (broken.contains(whole[b].indices[k])) {
            left_out.push_back(whole[b].indices[k]);
            continue;
          }
          ++expected.n;
          expected.indices.push_back(whole[b].indices[k]);
          expected.targets.push_back(whole[b].targets[k]);
          const auto at = whole[b].images.begin() + static_cast<Index>(k * 192);
          expected.images.insert(expected.images.end(), at, at + 192);
        }
        EXPECT_EQ(batches[b].n, expected.n);
        EXPECT_EQ(batches[b].indices, expected.indices);
        EXPECT_EQ(batches[b].targets, expected.targets);
        EXPECT_EQ(batches[b].images, expected.images);
        ASSERT_EQ(batches[b].left_out.size(), left_out.size());
        for (std::size_t k = 0; k < left_out.size(); ++k) {
          EXPECT_EQ(batches[b].left_out[k].index, left_out[k]);
          EXPECT_NE(batches[b].left_out[k].reason.find("bmp"), std::string::npos);
        }
      }
    }
  }
}

TEST_F(LeftOutTest, HalfOfASplitOrAWholeClassIsTooMuch) {
  BadFiles bad;
  for (std::uint32_t i : {0u, 2u, 4u, 6u, 0u, 1u}) bad.add(data_, i, "why");
  EXPECT_EQ(bad.list().size(), 5u) << "each once";
  EXPECT_EQ(bad.csv().substr(0, 32), "split,path,reason\ntrain,0.bmp,wh");
  EXPECT_THROW(bad.add(data_, 3, "why"), DataError) << "six of ten";
  BadFiles reals;
  for (std::uint32_t i : {0u, 2u, 4u, 6u}) reals.add(data_, i, "why");
  EXPECT_THROW(reals.add(data_, 8, "why"), DataError) << "all of class real";
}

// How a case changes tiny_options.
struct Kind {
  const char* name;
  void (*change)(TrainOptions&);
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

class BadTraining : public testing::TestWithParam<Kind> {
 protected:
  BadTraining() {
    std::filesystem::copy(test::synth_set(), set_, std::filesystem::copy_options::recursive);
    for (const char* folder : {"train/real", "train/fake", "valid/real"}) break_first(folder);
  }
  void break_first(const std::string& folder) {
    std::set<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(set_ / folder))
      files.insert(entry.path());
    test::spill(*files.begin(), "\xff\xd8\xff no picture");
  }
  TrainOptions options(const char* folder) const {
    TrainOptions o = test::tiny_options(scratch_.path() / folder);
    o.data = set_;
    GetParam().change(o);
    return o;
  }
  ScratchFolder scratch_;
  std::filesystem::path set_ = scratch_.path() / "set";
};

TEST_P(BadTraining, SameBitsForAnyThreadsAndWhenStoppedAtEveryStep) {
  const TrainOptions whole = options("whole");
  const TrainResult result = test::train_to_end(whole);
  ASSERT_EQ(result.end, TrainEnd::Finished);
  EXPECT_EQ(result.state.bad_files.size(), 3u);
  const std::string listed = test::slurp(whole.output / kBadFiles);
  EXPECT_EQ(std::count(listed.begin(), listed.end(), '\n'), 4) << listed;

  TrainOptions threads = options("threads");
  threads.threads = 3;
  test::train_to_end(threads);
  test::expect_same_run(whole.output, threads.output);

  const TrainOptions parts = options("parts");
  TrainResult part = test::train_steps(parts, 1);
  while (part.end == TrainEnd::Interrupted) part = test::train_steps(parts, 1, true);
  test::expect_same_run(whole.output, parts.output);
  EXPECT_EQ(test::slurp(parts.output / kBadFiles), listed);
}

TEST_P(BadTraining, FailsWhenTold) {
  TrainOptions o = options("strict");
  o.on_bad = OnBad::Fail;
  EXPECT_THROW(test::train_to_end(o), DataError);
}

constexpr Kind kKinds[] = {{"images", [](TrainOptions&) {}},
                           {"features", [](TrainOptions& o) { o.freeze = kWholeBase; }},
                           {"batches_of_one", [](TrainOptions& o) {
                              o.freeze = kWholeBase;
                              o.batch_size = 1;
                              o.epochs = 1;
                            }}};
INSTANTIATE_TEST_SUITE_P(Kinds, BadTraining, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST(Leftovers, OfAKilledRunAreRemovedByTheNext) {
  const ScratchFolder scratch;
  const TrainOptions o = test::tiny_options(scratch.path() / "run");
  test::train_steps(o, 1);
  for (const char* name : {"last.ckpt.tmp-123-4", "best.safetensors.tmp-1-0"})
    test::spill(o.output / name, "half");
  test::spill(o.output / "last.ckpt.tmp-mine", "kept");
  test::train_to_end(o, true);
  EXPECT_FALSE(std::filesystem::exists(o.output / "last.ckpt.tmp-123-4"));
  EXPECT_FALSE(std::filesystem::exists(o.output / "best.safetensors.tmp-1-0"));
  EXPECT_TRUE(std::filesystem::exists(o.output / "last.ckpt.tmp-mine"));
}

}  // namespace
}  // namespace dfengine
