// Calls of more pictures than one batch.
#include "engine/model/predictor.h"

#include <cstring>

#include "tests/engine/runtime/device_support.h"
#include "tests/engine/runtime/forwarding_backend.h"

namespace dfengine::test {
namespace {

// Sends two pictures at a time, and counts what is fetched.
class SmallBatches : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  Index inference_batch(Index) const override { return 2; }
  int lanes() const override { return 1; }
  void download(void* to, const void* from, Index bytes) const override {
    ++downloads;
    ForwardingBackend::download(to, from, bytes);
  }
  mutable int downloads = 0;
};

class PredictorOn : public OnBackend {};
DF_ON_EVERY_BACKEND(PredictorOn);

// Fetching a batch's results waits for them; the next batch is to be on its way meanwhile.
TEST_P(PredictorOn, ACallFetchesTheResultsOfAllItsBatchesAtOnce) {
  const auto backend = float_backend(GetParam());
  const SmallBatches counting(*backend);
  NetworkConfig config = small_config();
  config.input_size = 3 * kSide;
  const Model model = make_model(config, 1);
  constexpr Index kPictures = 3;
  const std::vector<std::uint8_t> pixels = SmallBatch(9 * kPictures).images;
  Predictor all(model, counting, Predictor::Output::Logits);
  std::vector<float> together(at(kPictures)), one_by_one(at(kPictures));
  all.run(pixels.data(), kPictures, together.data());
  EXPECT_EQ(counting.downloads, 1);
  for (Index i = 0; i < kPictures; ++i)
    all.run(pixels.data() + 9 * i * kImage.bytes(), 1, &one_by_one[at(i)]);
  EXPECT_EQ(together, one_by_one);
}

// A picture a thread where there are enough of them, all threads at the others.
TEST(PredictorOnCpu, PicturesSideBySideHaveTheBitsOfOneAloneForAnyNumberOfThreads) {
  NetworkConfig config = small_config();
  config.input_size = 3 * kSide;
  const Model model = make_model(config, 1);
  constexpr Index kMost = 9;
  const std::vector<std::uint8_t> pixels = SmallBatch(9 * kMost).images;
  std::vector<float> alone(at(kMost));
  ThreadPool one(1);
  const CpuBackend on_one(one);
  Predictor single(model, on_one, Predictor::Output::Logits);
  for (Index i = 0; i < kMost; ++i)
    single.run(pixels.data() + 9 * i * kImage.bytes(), 1, &alone[at(i)]);
  for (int threads : {2, 3, 4}) {
    ThreadPool pool(threads);
    const CpuBackend backend(pool);
    Predictor together(model, backend, Predictor::Output::Logits);
    for (Index n = 1; n <= kMost; ++n) {
      std::vector<float> logits(at(n));
      together.run(pixels.data(), n, logits.data());
      EXPECT_EQ(logits, std::vector<float>(alone.begin(), alone.begin() + n))
          << n << " pictures, " << threads << " threads";
    }
  }
}

// The lanes read the weights that refresh() folds anew.
TEST(PredictorOnCpu, RefreshReachesEveryLane) {
  NetworkConfig config = small_config();
  config.input_size = 3 * kSide;
  Model model = make_model(config, 1);
  const std::vector<std::uint8_t> pixels = SmallBatch(9 * 4).images;
  ThreadPool pool(2);
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, Predictor::Output::Logits);
  std::vector<float> before(4), after(4), fresh(4);
  predictor.run(pixels.data(), 4, before.data());
  const Model other = make_model(config, 2);
  std::memcpy(model.parameters.data(), other.parameters.data(), at(model.parameters.bytes()));
  predictor.refresh();
  predictor.run(pixels.data(), 4, after.data());
  Predictor(model, backend, Predictor::Output::Logits).run(pixels.data(), 4, fresh.data());
  EXPECT_EQ(after, fresh);
  EXPECT_NE(after, before);
}

}  // namespace
}  // namespace dfengine::test
