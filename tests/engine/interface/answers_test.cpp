// What the C interface answers: the engine's own bits, from files, bytes and pixels, for any number
// of threads and sessions.
#include <cmath>
#include <thread>

#include "engine/evaluate/grad_cam.h"
#include "engine/interface/handles.h"
#include "kernels/cpu/isa.h"
#include "tests/engine/interface/c99_caller.h"
#include "tests/engine/interface/interface_support.h"

namespace dfengine {
namespace {

using test::options_with;
using Answers = test::Interface;

std::vector<double> probabilities(const df::Results& results) {
  std::vector<double> all;
  for (std::size_t i = 0; i < results.size(); ++i) all.push_back(results[i].probability);
  return all;
}

TEST_F(Answers, AreTheEnginesForAnyThreadsAndBatch) {
  const df::Model model(model_);
  const std::vector<double> expected = expected_probabilities();
  for (const int threads : {1, 2, 5})
    for (const int batch : {1, 3, 32}) {
      df::Session session(model, options_with(threads, batch));
      EXPECT_EQ(probabilities(session.classify(as_files())), expected) << threads << " " << batch;
    }
}

TEST_F(Answers, AreTheSameFromBytesAndPixels) {
  const df::Model model(model_);
  df::Session session(model, options_with(2, 4));
  std::vector<std::vector<std::byte>> bytes;
  std::vector<Image> images;
  std::vector<std::vector<std::uint8_t>> padded;
  std::vector<df_picture> encoded, plain, apart;
  for (const std::string& file : files_) {
    bytes.push_back(weights::read_file(file));
    encoded.push_back(df::encoded(bytes.back().data(), bytes.back().size()));
    const Image& image = images.emplace_back(decode_image(file));
    plain.push_back(df::pixels(image.rgb.data(), image.h, image.w));
    const Index row = 3 * image.w, step = row + 5;
    auto& rows = padded.emplace_back(at(image.h * step), std::uint8_t{77});
    for (Index y = 0; y < image.h; ++y)
      std::copy_n(image.rgb.data() + y * row, row, rows.data() + y * step);
    apart.push_back(df::pixels(rows.data(), image.h, image.w, step));
  }
  const std::vector<double> expected = expected_probabilities();
  EXPECT_EQ(probabilities(session.classify(encoded)), expected);
  EXPECT_EQ(probabilities(session.classify(plain)), expected);
  EXPECT_EQ(probabilities(session.classify(apart)), expected);
}

TEST_F(Answers, SayWhatTheyMean) {
  const df::Model model(model_);
  df::Session session(model);
  const df::Results results = session.classify(as_files());
  ASSERT_EQ(results.size(), files_.size());
  const auto logits = from_engine(Predictor::Output::Logits);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const df_result& r = results[i];
    EXPECT_EQ(r.struct_size, sizeof(df_result));
    EXPECT_EQ(r.status, DF_OK);
    EXPECT_STREQ(r.error, "");
    EXPECT_EQ(r.logit, logits[i][0]);
    EXPECT_EQ(r.threshold, 0.4375);
    EXPECT_EQ(r.fake, r.probability >= 0.4375 ? 1 : 0);
    EXPECT_STREQ(r.verdict, r.fake == 1 ? "fake" : "real");
    EXPECT_EQ(r.unsure, r.probability > 0.25 && r.probability < 0.75 ? 1 : 0);
    EXPECT_EQ(r.features, nullptr);
    EXPECT_EQ(r.heat_map, nullptr);
  }
}

TEST_F(Answers, HaveThePrecisionThatIsAskedFor) {
  const df::Model model(model_);
  const auto exact = from_engine(Predictor::Output::Logits);
  for (const df_precision precision : {DF_FP16, DF_BF16, DF_FP32}) {
    if (precision == DF_BF16 && !cpu::bf16_supported()) continue;
    const auto element = precision == DF_BF16 ? Element::BF16 : Element::F32;
    const auto logits = from_engine(Predictor::Output::Logits, element);
    EXPECT_EQ(logits == exact, precision != DF_BF16);
    df_session_options options = options_with(2, 3);
    options.precision = precision;
    df::Session session(model, options);
    const df::Results results = session.classify(as_files());
    for (std::size_t i = 0; i < files_.size(); ++i)
      EXPECT_EQ(results[i].logit, logits[i][0]) << precision;
  }
}

TEST_F(Answers, OfAQuantizedModelAreTheCpusBesideADevice) {
  DF_NEEDS_DEVICE();
  quantize_model();
  const df::Model model(model_);
  df_session_options options = options_with(2, 3);
  options.device = DF_AUTO;
  df::Session session(model, options);
  std::int32_t device = -1;
  EXPECT_EQ(df_session_device(session.handle(), &device), DF_OK);
  EXPECT_EQ(device, DF_CPU);
  EXPECT_EQ(probabilities(session.classify(as_files())), expected_probabilities());
  options.device = DF_CUDA;
  EXPECT_THROW(df::Session(model, options), df::Error);
}

TEST_F(Answers, ThresholdOfTheSessionDecides) {
  const df::Model model(model_);
  for (const double threshold : {1e-9, 1.0}) {
    df_session_options options = options_with(1, 0);
    options.threshold = threshold;
    df::Session session(model, options);
    const df::Results results = session.classify(as_files());
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i].threshold, threshold);
      EXPECT_EQ(results[i].fake, threshold < 0.5 ? 1 : 0);
      EXPECT_EQ(results[i].unsure, 0);  // the band belongs to the model's own threshold
    }
  }
}

TEST_F(Answers, APictureThatCannotBeReadLeavesTheOthers) {
  const df::Model model(model_);
  df::Session session(model, options_with(2, 3));
  const std::vector<double> expected = expected_probabilities();
  std::vector<df_picture> pictures = as_files();
  const std::string missing = (folder_.path() / "missing.jpg").string();
  pictures.insert(pictures.begin() + 1, df::file(missing.c_str()));
  pictures.insert(pictures.begin() + 4, df::encoded("no picture", 10));
  const df::Results results = session.classify(pictures);
  std::vector<double> read;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i != 1 && i != 4) {
      EXPECT_EQ(results[i].status, DF_OK) << results[i].error;
      read.push_back(results[i].probability);
      continue;
    }
    EXPECT_EQ(results[i].status, DF_BAD_DATA);
    EXPECT_NE(std::string(results[i].error).find(i == 1 ? "missing.jpg" : "picture 4"),
              std::string::npos)
        << results[i].error;
    EXPECT_TRUE(std::isnan(results[i].probability));
    EXPECT_EQ(results[i].fake, -1);
    EXPECT_STREQ(results[i].verdict, "");
  }
  EXPECT_EQ(read, expected);
}

TEST_F(Answers, FeaturesAndHeatMapsAreTheEngines) {
  const df::Model model(model_);
  df::Session session(model, options_with(2, 3));
  const df::Results results = session.classify(as_files(), DF_FEATURES | DF_HEAT_MAP);
  const auto features = from_engine(Predictor::Output::Pooled);
  const Model own = load_model(model_);
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  GradCam cam(own, backend);
  Preparer preparer(own.preparation());
  std::vector<std::uint8_t> pixels(kSide * kSide * 3);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const df_result& r = results[i];
    EXPECT_EQ(r.feature_count, model.info().features);
    EXPECT_EQ(std::vector<float>(r.features, r.features + r.feature_count), features[i]);
    preparer.prepare(files_[i], pixels.data());
    const EvidenceMap map =
        cam.run(pixels.data()).evidence(r.fake == 1 ? Evidence::Fake : Evidence::Real);
    EXPECT_EQ(r.heat_map_rows, map.h);
    EXPECT_EQ(r.heat_map_columns, map.w);
    EXPECT_EQ(std::vector<float>(r.heat_map, r.heat_map + map.h * map.w), map.values);
  }
}

TEST_F(Answers, AModelInMemoryIsThatOfTheFile) {
  std::vector<std::byte> bytes = weights::read_file(model_);
  const df::Model model(bytes.data(), bytes.size());
  bytes.assign(bytes.size(), std::byte{0});  // it has what it needs
  df::Session session(model);
  EXPECT_EQ(probabilities(session.classify(as_files())), expected_probabilities());
  const df_model_info info = model.info();
  EXPECT_STREQ(info.architecture, "mobilenet_v2");
  EXPECT_STREQ(info.classes[0], "real");
  EXPECT_STREQ(info.classes[1], "fake");
  EXPECT_EQ(info.threshold, 0.4375);
  EXPECT_EQ(info.temperature, 0.25);
  EXPECT_EQ(info.input_size, kSide);
}

TEST_F(Answers, OneModelServesSessionsOfManyThreads) {
  const df::Model model(model_);
  const std::vector<double> expected = expected_probabilities();
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int& mine : wrong)
    threads.emplace_back([&] {
      df::Session session(model, options_with(1, 3));
      for (int round = 0; round < 3; ++round)
        mine += probabilities(session.classify(as_files())) != expected;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST_F(Answers, AreTheSameFromC) {
  const std::vector<double> expected = expected_probabilities();
  for (std::size_t i = 0; i < files_.size(); ++i) {
    double probability = 0;
    EXPECT_EQ(c99_classify(model_.c_str(), files_[i].c_str(), &probability), DF_OK);
    EXPECT_EQ(probability, expected[i]);
  }
  std::vector<float> features(8);
  EXPECT_EQ(c99_features(model_.c_str(), files_[0].c_str(), features.data(), features.size()),
            DF_OK);
  auto engines = from_engine(Predictor::Output::Pooled)[0];
  engines.resize(features.size());
  EXPECT_EQ(features, engines);
}

}  // namespace
}  // namespace dfengine
