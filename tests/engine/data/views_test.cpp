// Test-time augmentation's forms of a picture, and what a model makes of changed pictures.
#include "engine/data/pictures/views.h"

#include <gtest/gtest.h>

#include "engine/evaluate/robustness.h"
#include "engine/report/evaluation_tables.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/train/train_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes views_of(const Image& image, Crop crop, Index size, Views views) {
  Resizer resizer;
  Bytes out(static_cast<std::size_t>(view_count(views) * size * size * 3));
  prepare_views(image, crop, size, views, resizer, out.data());
  return out;
}

// Written out: mirrored, pixel by pixel.
Bytes mirrored(const Bytes& image, Index size) {
  Bytes out(image.size());
  for (Index y = 0; y < size; ++y)
    for (Index x = 0; x < size; ++x)
      for (Index c = 0; c < 3; ++c)
        out[static_cast<std::size_t>((y * size + x) * 3 + c)] =
            image[static_cast<std::size_t>((y * size + size - 1 - x) * 3 + c)];
  return out;
}

Bytes cut(const Bytes& image, Index width, Index top, Index left, Index size) {
  Bytes out;
  for (Index y = top; y < top + size; ++y) {
    const auto row = image.begin() + (y * width + left) * 3;
    out.insert(out.end(), row, row + size * 3);
  }
  return out;
}

void append(Bytes& all, const Bytes& more) {
  all.insert(all.end(), more.begin(), more.end());
}

TEST(Views, FlipIsThePictureAndItsMirrorImage) {
  for (const Crop crop : {Crop::None, Crop::Center}) {
    const Image image = test::pattern(57, 91);
    Bytes expected = views_of(image, crop, 32, Views::One);
    append(expected, mirrored(expected, 32));
    EXPECT_EQ(views_of(image, crop, 32, Views::Flip), expected);
  }
}

TEST(Views, CropsAreCutFromTheEnlargedPicture) {
  struct Case {
    Index h, w;
    Crop crop;
    Index size, tall, wide;  // enlarged: round(size * 256 / 224)
  };
  for (const Case& c : {Case{57, 91, Crop::None, 96, 110, 110},
                        {300, 201, Crop::Center, 32, 55, 37},
                        {201, 300, Crop::Center, 32, 37, 55},
                        {8, 8, Crop::None, 224, 256, 256}}) {
    const Image image = test::pattern(c.h, c.w);
    Resizer resizer;
    Bytes large(static_cast<std::size_t>(c.tall * c.wide * 3));
    resizer.resize(image, c.tall, c.wide, large.data());
    const Index down = c.tall - c.size, right = c.wide - c.size;
    const Bytes middle = views_of(image, Crop::Center, c.size, Views::One);
    Bytes expected;
    for (const Bytes& corner :
         {cut(large, c.wide, 0, 0, c.size), cut(large, c.wide, 0, right, c.size),
          cut(large, c.wide, down, 0, c.size), cut(large, c.wide, down, right, c.size)})
      append(expected, corner);
    append(expected,
           c.crop == Crop::Center ? middle : cut(large, c.wide, down / 2, right / 2, c.size));
    const auto picture = static_cast<std::ptrdiff_t>(c.size * c.size * 3);
    for (int i = 0; i < 5; ++i) {
      const auto from = expected.begin() + i * picture;
      append(expected, mirrored(Bytes(from, from + picture), c.size));
    }
    EXPECT_EQ(views_of(image, c.crop, c.size, Views::Crops), expected) << c.h << " x " << c.w;
  }
}

TEST(Views, HaveNamesAndRefuseNothingness) {
  EXPECT_EQ(parse_name<Views>("none"), Views::One);
  EXPECT_EQ(parse_name<Views>("flip"), Views::Flip);
  EXPECT_EQ(parse_name<Views>("crops"), Views::Crops);
  EXPECT_THROW(parse_name<Views>("five"), UsageError);
  for (const Views views : {Views::One, Views::Flip, Views::Crops})
    EXPECT_THROW(views_of(Image{}, Crop::None, 32, views), ShapeError);
}

// A small network on six pictures.
class SplitFigures : public testing::Test {
 protected:
  LoaderOptions options(int threads) const {
    LoaderOptions o;
    o.size = model_.config.input_size;
    o.threads = threads;
    o.batch = 4;
    o.cache_bytes = 0;
    return o;
  }

  float logit(const Bytes& pixels) {
    float out = 0;
    predictor_.run(pixels.data(), 1, &out);
    return out;
  }

  Model model_ = make_model(test::tiny_config(), 3);
  ThreadPool pool_{1};
  CpuBackend backend_{pool_};
  Predictor predictor_{model_, backend_, Predictor::Output::Logits};
  Dataset dataset_ = test::split_of(test::synth_set(), "test");
};

TEST_F(SplitFigures, ViewsGiveTheMeanLogit) {
  LoaderOptions o = options(2);
  o.views = Views::Crops;
  Loader loader(dataset_, o);
  model_.temperature = 2;
  const Predictions p = predict_split(predictor_, dataset_, loader);
  const auto size = static_cast<std::ptrdiff_t>(o.size * o.size * 3);
  for (std::size_t i = 0; i < dataset_.samples.size(); ++i) {
    const Image image = decode_image(dataset_.path(dataset_.samples[i]));
    const Bytes all = views_of(image, Crop::None, o.size, Views::Crops);
    double sum = 0, magnitude = 0;
    for (int v = 0; v < 10; ++v) {
      const float z = logit(Bytes(all.begin() + v * size, all.begin() + (v + 1) * size));
      sum += z;
      magnitude += std::abs(z);
    }
    EXPECT_NEAR(p.logit[i], sum / 10, test::tolerance<float>(10, magnitude / 10));
    EXPECT_EQ(p.prob[i], sigmoid(p.logit[i] / 2));
  }
}

TEST_F(SplitFigures, AnUnreadablePictureTakesNoMoreMemoryThanAReadableOne) {
  dataset_.samples[0].relative = "missing.jpg";
  LoaderOptions o = options(1);
  o.views = Views::Crops;
  o.on_bad = OnBad::Skip;
  Loader loader(dataset_, o);
  EXPECT_EQ(predict_split(predictor_, dataset_, loader).left_out.size(), 1u);
  // The loader uses the buffers of the run again.
  const Index whole_batch = o.batch * view_count(o.views) * o.size * o.size * 3;
  loader.start(0);
  for (Batch batch; loader.next(batch);)
    EXPECT_LE(batch.images.capacity(), static_cast<std::size_t>(whole_batch));
}

TEST_F(SplitFigures, RobustnessRowsAreThoseOfChangedPictures) {
  model_.threshold = 0.5;
  const auto rows = measure_robustness(predictor_, dataset_, options(1), 0.5, 7);
  ASSERT_EQ(rows.size(), perturbations().size() + 1);
  const std::string table = to_text(rows);
  const nlohmann::json all = to_json(rows);
  PerturbScratch scratch;
  Resizer resizer;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::vector<double> prob;
    std::vector<int> label;
    for (std::size_t i = 0; i < dataset_.samples.size(); ++i) {
      Image image = decode_image(dataset_.path(dataset_.samples[i]));
      if (const Perturbation* p = rows[r].what)
        p->apply({image.rgb.data(), image.h, image.w}, p->strength, 7, i, scratch);
      Bytes pixels(static_cast<std::size_t>(96 * 96 * 3));
      prepare_image(image, Crop::None, 96, resizer, pixels.data());
      prob.push_back(sigmoid(logit(pixels)));
      label.push_back(dataset_.samples[i].label);
    }
    const Metrics m = compute_metrics(prob, label, 0.5);
    EXPECT_EQ(rows[r].summary.metrics.roc_auc, m.roc_auc) << r;
    EXPECT_EQ(rows[r].summary.metrics.log_loss, m.log_loss) << r;
    EXPECT_EQ(all[r].at("roc_auc"), m.roc_auc);
    if (rows[r].what) {
      EXPECT_NE(rows[r].summary.metrics.log_loss, rows[0].summary.metrics.log_loss) << r;
      EXPECT_NE(table.find(rows[r].what->title), std::string::npos);
    }
  }
  EXPECT_TRUE(all[0].at("strength").is_null());
  const auto again = measure_robustness(predictor_, dataset_, options(3), 0.5, 7);
  for (std::size_t r = 0; r < rows.size(); ++r)
    EXPECT_EQ(again[r].summary.metrics.log_loss, rows[r].summary.metrics.log_loss) << r;
}

}  // namespace
}  // namespace dfengine
