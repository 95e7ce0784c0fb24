// Grad-CAM against PyTorch's autograd; overlays; PNG.
#include "engine/evaluate/grad_cam.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/data/pictures/png_encode.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/model/formula_parameters.h"
#include "tests/support/tolerance.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr Index kSide = 160;

Model formula_model() {
  MobileNetV2Config config;
  config.width = 0.1;
  config.input_size = kSide;
  Model model = make_model(config, 0);
  const auto file = test::golden_folder() / "mobilenet_v2_010_torch.safetensors";
  test::set_formula_parameters(model.parameters,
                               weights::read_safetensors(file).metadata.at("parameter_order"));
  return model;
}

std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> all;
  for (const auto& row : rows)
    for (double v : row) all.push_back(v);
  return all;
}

void expect_close(const std::vector<float>& got, const std::vector<double>& want,
                  double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << i;
}

TEST(GradCam, EqualsPytorch) {
  Model model = formula_model();
  ThreadPool pool(1);
  const GradCam cam(model, pool);
  const auto cases = test::golden("data_grad_cam.json")["cases"];
  ASSERT_EQ(cases.size(), 6u);
  // 54 layers of up to 1280 terms (pytorch_golden_test); the map adds 1280 more, and its
  // magnitude is that of the sum before cancelling: |alpha| A over the channels, below 1 here.
  const double tolerance = test::network_tolerance<float>(54, 1280, 1);
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{} {}", c["shift"].get<int>(), c["evidence"].get<std::string>()));
    const Image image = test::pattern(kSide, kSide, c["shift"].get<Index>());
    EXPECT_NEAR(cam.run(image.rgb.data()), c["logit"].get<double>(), tolerance);
    const EvidenceMap map = cam.map(c["evidence"] == "fake" ? Evidence::Fake : Evidence::Real);
    EXPECT_EQ(map.h, 5);
    EXPECT_EQ(map.w, 5);
    const std::vector<double> want = flat(c["map"]);
    // The test tells something: the map stands clear of what rounding may do.
    EXPECT_GT(*std::ranges::max_element(want), 10 * tolerance);
    expect_close(map.values, want, tolerance);
    expect_close(upsample(map, 13, 20), flat(c["enlarged"]), tolerance);
  }
}

TEST(GradCam, NeedsADetector) {
  MobileNetV2Config config;
  config.width = 0.1;
  config.input_size = 96;
  config.head = Head::Classifier;
  Model model = make_model(config, 0);
  ThreadPool pool(1);
  EXPECT_THROW(GradCam(model, pool), UsageError);
}

TEST(GradCam, OverlayIsBlueWithoutAndRedAtTheMostEvidence) {
  Image gray{64, 64, std::vector<std::uint8_t>(64 * 64 * 3, 128)};
  EvidenceMap map{2, 2, {0, 0, 0, 3}};
  const Image image = overlay(gray, map);
  const auto* first = image.rgb.data();
  const auto* last = image.rgb.data() + image.rgb.size() - 3;
  EXPECT_GT(first[2], first[0]);
  EXPECT_GT(last[0], last[2]);
  map.values.assign(4, 0.0f);  // nothing speaks for the class
  const Image none = overlay(gray, map);
  EXPECT_TRUE(std::equal(none.rgb.begin(), none.rgb.end() - 3, none.rgb.begin() + 3));
}

TEST(PngEncode, DecodesToTheSamePixels) {
  for (const auto& [h, w] : {std::pair<Index, Index>{1, 1}, {17, 31}}) {
    const Image image = test::pattern(h, w);
    const Image back = decode_image(encode_png(image), "memory");
    EXPECT_EQ(back.h, h);
    EXPECT_EQ(back.w, w);
    EXPECT_EQ(back.rgb, image.rgb);
  }
  EXPECT_THROW(encode_png(Image{}), ShapeError);
}

}  // namespace
}  // namespace dfengine
