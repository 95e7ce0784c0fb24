// Calls of more pictures than one batch.
#include "engine/model/predictor.h"

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

}  // namespace
}  // namespace dfengine::test
