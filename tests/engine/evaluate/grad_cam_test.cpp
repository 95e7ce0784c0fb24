// Grad-CAM against PyTorch's autograd; overlays; PNG.
#include "engine/evaluate/grad_cam.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/data/pictures/png_encode.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"
#include "kernels/cpu/isa.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/model/formula_parameters.h"
#include "tests/support/tolerance.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr Index kSide = 160;

Model formula_model() {
  NetworkConfig config;
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
  const Model model = formula_model();
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  GradCam cam(model, backend);
  const auto cases = test::golden("data_grad_cam.json")["cases"];
  ASSERT_EQ(cases.size(), 6u);
  // 54 layers of up to 1280 terms (pytorch_golden_test); the map adds 1280 more, and its
  // magnitude is that of the sum before cancelling: |alpha| A over the channels, below 1 here.
  const double tolerance = test::network_tolerance<float>(54, 1280, 1);
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{} {}", c["shift"].get<int>(), c["evidence"].get<std::string>()));
    const Image image = test::pattern(kSide, kSide, c["shift"].get<Index>());
    const GradCamRun run = cam.run(image.rgb.data());
    EXPECT_NEAR(run.logit, c["logit"].get<double>(), tolerance);
    const EvidenceMap map = run.evidence(c["evidence"] == "fake" ? Evidence::Fake : Evidence::Real);
    EXPECT_EQ(map.h, 5);
    EXPECT_EQ(map.w, 5);
    const std::vector<double> want = flat(c["map"]);
    // The test tells something: the map stands clear of what rounding may do.
    EXPECT_GT(*std::ranges::max_element(want), 10 * tolerance);
    expect_close(map.values, want, tolerance);
    expect_close(upsample(map, 13, 20), flat(c["enlarged"]), tolerance);
  }
}

// The head by hand: logit = w2 ReLU(w1 pooled + b1) + b2, and the pool spreads its gradient evenly.
template <class T>
void expect_gradients_of_head(Element element) {
  const Model model = formula_model();
  ThreadPool pool(1);
  const CpuBackend backend(pool, element);
  GradCam cam(model, backend);
  const GradCamRun run = cam.run(test::pattern(kSide, kSide, 3).rgb.data());
  const auto value = [&](const char* name) {
    return model.parameters.get(model.parameters.find(name));
  };
  const std::vector<float> w1 = value("head.fc1.weight"), b1 = value("head.fc1.bias"),
                           w2 = value("head.fc2.weight");
  const Index c = run.map.c, cells = run.map.h * run.map.w;
  std::vector<double> pooled(at(c), 0.0), want(at(c), 0.0), size(at(c), 0.0);
  for (Index i = 0; i < run.map.count(); ++i)
    pooled[at(i % c)] += double{run.features[at(i)]} / static_cast<double>(cells);
  for (std::size_t k = 0; k < b1.size(); ++k) {
    double hidden = b1[k];
    for (Index i = 0; i < c; ++i) hidden += double{w1[k * at(c) + at(i)]} * pooled[at(i)];
    if (hidden <= 0) continue;
    for (Index i = 0; i < c; ++i) {
      const double term = double{w2[k]} * double{w1[k * at(c) + at(i)]};
      want[at(i)] += term / static_cast<double>(cells);
      size[at(i)] += std::abs(term) / static_cast<double>(cells);
    }
  }
  const double terms = static_cast<double>(b1.size());
  for (Index i = 0; i < run.map.count(); ++i)
    EXPECT_NEAR(run.gradients[at(i)], want[at(i % c)],
                test::tolerance<float>(terms, size[at(i % c)]) +
                    test::unit_roundoff<T>() * std::abs(want[at(i % c)]))
        << i;
}

TEST(GradCam, GradientsAreThoseOfTheHeadsFormula) {
  expect_gradients_of_head<float>(Element::F32);
  if (!cpu::bf16_supported()) GTEST_SKIP() << "this CPU does not compute in bf16";
  expect_gradients_of_head<BFloat16>(Element::BF16);
}

TEST(GradCam, NeedsADetector) {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  config.head = Head::Classifier;
  const Model model = make_model(config, 0);
  ThreadPool pool(1);
  EXPECT_THROW(GradCam(model, CpuBackend(pool)), UsageError);
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
