// Means of weights, ensembles, and batch norm statistics measured anew.
#include "engine/model/combine.h"

#include <gtest/gtest.h>

#include <functional>

#include "engine/evaluate/grad_cam.h"
#include "engine/model/norm_statistics.h"
#include "engine/model/predictor.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/training.h"
#include "kernels/base/error.h"
#include "tests/engine/data/data_support.h"
#include "tests/support/random_data.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

constexpr Index kSize = 96;

// Runs that began with the same values.
Model trained(std::uint64_t seed) {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = kSize;
  Model model = make_model(config, seed);
  model.notes["source_sha256"] = "abc";
  model.notes["train_args"] = R"({"seed": 1})";
  return model;
}

std::vector<Model> trained_runs(std::initializer_list<std::uint64_t> seeds) {
  std::vector<Model> models;
  for (const std::uint64_t seed : seeds) models.push_back(trained(seed));
  return models;
}

std::vector<std::uint8_t> pictures(Index n) {
  std::vector<std::uint8_t> all;
  for (Index i = 0; i < n; ++i) {
    const Image image = test::pattern(kSize, kSize, 11 * i);
    all.insert(all.end(), image.rgb.begin(), image.rgb.end());
  }
  return all;
}

std::vector<float> logits(const Model& model, Index n) {
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, Predictor::Output::Logits);
  std::vector<float> out(at(n));
  predictor.run(pictures(n).data(), n, out.data());
  return out;
}

TEST(Average, IsTheMeanOfEachValue) {
  const std::vector<Model> models = trained_runs({1, 2, 3});
  const Model mean = average_models(models);
  for (int i = 0; i < std::ssize(mean.parameters.specs()); ++i) {
    const std::vector<float> got = mean.parameters.get(i);
    std::vector<double> sums(got.size());
    for (const Model& m : models) {
      const std::vector<float> of = m.parameters.get(i);
      for (std::size_t k = 0; k < of.size(); ++k) sums[k] += double{of[k]};
    }
    for (std::size_t k = 0; k < got.size(); ++k) ASSERT_EQ(got[k], static_cast<float>(sums[k] / 3));
  }
}

TEST(Average, RefusesWhatDidNotBeginAlike) {
  const auto refusal = [&](const std::function<void(Model&)>& change) {
    std::vector<Model> models = trained_runs({1, 2});
    change(models[1]);
    return test::thrown_text([&] { average_models(models); });
  };
  EXPECT_NE(refusal([](Model& m) { m.notes["source_sha256"] = "def"; }).find("--weights"),
            std::string::npos);
  EXPECT_NE(refusal([](Model& m) { m.notes["train_args"] = R"({"seed": 2})"; }).find("--seed"),
            std::string::npos);
  EXPECT_NE(refusal([](Model& m) { m.crop = Crop::Center; }).find("crop"), std::string::npos);
  EXPECT_THROW(average_models(trained_runs({1})), UsageError);
  // A whole detector as the beginning brings its head, whatever the seed.
  std::vector<Model> models = trained_runs({1, 2});
  for (Model& m : models) m.notes[kStartedWithHead] = "yes";
  models[1].notes["train_args"] = R"({"seed": 2})";
  EXPECT_NO_THROW(average_models(models));
}

TEST(Ensemble, SaysTheMeanOfItsMembersLogits) {
  for (const std::size_t members : {2u, 3u}) {
    std::vector<Model> models;
    for (std::size_t i = 0; i < members; ++i) models.push_back(trained(i + 1));
    const test::TempDir dir;
    save_model(dir.path() / "all.safetensors", ensemble_of(models));
    const Model all = load_detector(dir.path() / "all.safetensors");
    EXPECT_EQ(all.config.members, static_cast<Index>(members));
    constexpr Index kPictures = 5;
    std::vector<double> want(kPictures, 0.0), magnitude(kPictures, 0.0);
    for (const Model& m : models) {
      const std::vector<float> of = logits(m, kPictures);
      for (std::size_t i = 0; i < of.size(); ++i) {
        want[i] += double{of[i]} / static_cast<double>(members);
        magnitude[i] += std::abs(double{of[i]}) / static_cast<double>(members);
      }
    }
    const std::vector<float> got = logits(all, kPictures);
    // One sum over the last layer's 128 inputs, whose weights were rounded once more, and that of
    // the members.
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i],
                  test::tolerance<float>(static_cast<double>(128 + members), 1 + magnitude[i]));
  }
}

TEST(Ensemble, ExplainsByAllOfItsMembers) {
  const std::vector<Model> models = trained_runs({1, 2});
  const Model all = ensemble_of(models);
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  const std::vector<std::uint8_t> picture = pictures(1);
  GradCam cam(all, backend);
  const GradCamRun run = cam.run(picture.data());
  Index first = 0;
  for (const Model& m : models) {
    GradCam alone(m, backend);
    const GradCamRun own = alone.run(picture.data());
    ASSERT_EQ(run.map.c, 2 * own.map.c);
    for (Index cell = 0; cell < own.map.h * own.map.w; ++cell)
      for (Index k = 0; k < own.map.c; ++k) {
        const auto in_all = at(cell * run.map.c + first + k), in_own = at(cell * own.map.c + k);
        ASSERT_EQ(run.features[in_all], own.features[in_own]);
        ASSERT_NEAR(run.gradients[in_all], own.gradients[in_own] / 2,
                    test::tolerance<float>(128, 1));
      }
    first += own.map.c;
  }
}

TEST(Ensemble, KeepsTheArgumentsOfItsMembers) {
  std::vector<Model> models = trained_runs({1, 2});
  for (Model& m : models) m.notes[kStartedWithHead] = "yes";
  models[1].notes["train_args"] = R"({"seed": 2})";
  for (const Model& all : {ensemble_of(models), average_models(models)})
    EXPECT_EQ(all.notes.at("earlier_train_args"), R"(["{\"seed\": 1}","{\"seed\": 2}"])");
}

TEST(Ensemble, RefusesMembersThatDiffer) {
  std::vector<Model> models = trained_runs({1, 2});
  models[1].config.stem_stride = 1;
  EXPECT_THROW(ensemble_of(models), UsageError);
  std::vector<Model> ensembles;
  for (int i = 0; i < 2; ++i) ensembles.push_back(ensemble_of(trained_runs({1, 2})));
  EXPECT_THROW(ensemble_of(ensembles), UsageError);
}

// A training step that learns nothing moves the running statistics to the batch's own where their
// momentum is 1; PyTorch's update_bn takes the mean over the batches.
TEST(NormStatistics, AreTheMeanOfTheBatchesOwn) {
  Model model = trained(4);
  ThreadPool pool(2);
  const CpuBackend backend(pool);
  constexpr Index kBatch = 4, kBatches = 3;
  const std::vector<std::uint8_t> all = pictures(kBatch * kBatches);
  const Index bytes = kBatch * model.network.image.bytes();
  NetworkConfig config = model.config;
  config.bn_momentum = 1;
  config.dropout = 0;
  std::vector<std::vector<double>> want(model.parameters.specs().size()), magnitude(want.size());
  for (Index b = 0; b < kBatches; ++b) {
    Model one = trained(4);
    TrainingOptions options;
    options.batch = kBatch;
    options.trainable = [](const ParamSpec&) { return true; };
    Training training(with_loss(make_network(config).graph), model.network.image, one.parameters,
                      backend, options);
    const std::vector<float> zero(at(one.parameters.learned_count())), targets(kBatch, 1.0f);
    training.upload(Moments{zero, zero}, initial_scaler(Element::F32));
    training.step(all.data() + b * bytes, targets.data(), kBatch, {.learning_rate = 0});
    training.download();
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (is_learned(one.parameters.specs()[i].role)) continue;
      const std::vector<float> of = one.parameters.get(static_cast<int>(i));
      want[i].resize(of.size());
      magnitude[i].resize(of.size());
      for (std::size_t k = 0; k < of.size(); ++k) {
        want[i][k] += double{of[k]} / kBatches;
        magnitude[i][k] += std::abs(double{of[k]}) / kBatches;
      }
    }
  }
  const Model before = trained(4);
  NormEstimator estimator(model, backend, kBatch);
  EXPECT_THROW(estimator.finish(), DataError);
  for (Index b = 0; b < kBatches; ++b) estimator.add(all.data() + b * bytes);
  estimator.finish();
  for (std::size_t i = 0; i < want.size(); ++i) {
    const int at_i = static_cast<int>(i);
    const std::vector<float> got = model.parameters.get(at_i);
    if (want[i].empty()) {
      EXPECT_EQ(got, before.parameters.get(at_i)) << "a learned parameter moved";
      continue;
    }
    for (std::size_t k = 0; k < got.size(); ++k)
      ASSERT_NEAR(got[k], want[i][k], test::tolerance<float>(kBatches, magnitude[i][k]))
          << model.parameters.specs()[i].name;
  }
}

// Frozen blocks are alike in all runs; their norms ran on the running statistics, which the mean of
// the runs must keep.
TEST(NormStatistics, BlocksThatAreAlikeKeepTheirs) {
  constexpr int kAlike = 5;
  std::vector<Model> models = trained_runs({4, 4});
  EXPECT_EQ(alike_blocks(models), models[0].network.block_count());
  const Trainable moved = models[0].network.trainable_above(kAlike);
  for (int i = 0; i < std::ssize(models[1].parameters.specs()); ++i) {
    std::vector<float> values = models[1].parameters.get(i);
    if (!moved(models[1].parameters.specs()[at(i)])) continue;
    for (float& v : values) v *= 1.5f;
    models[1].parameters.set(i, std::span<const float>(values));
  }
  EXPECT_EQ(alike_blocks(models), kAlike);
  Model mean = trained(4);
  const Model before = trained(4);
  ThreadPool pool(2);
  const CpuBackend backend(pool);
  constexpr Index kBatch = 4;
  NormEstimator estimator(mean, backend, kBatch, kAlike);
  const std::vector<std::uint8_t> all = pictures(kBatch);
  estimator.add(all.data());
  estimator.finish();
  for (int i = 0; i < std::ssize(mean.parameters.specs()); ++i) {
    const ParamSpec& p = mean.parameters.specs()[at(i)];
    const bool same = mean.parameters.get(i) == before.parameters.get(i);
    EXPECT_EQ(same, is_learned(p.role) || !moved(p)) << p.name;
  }
}

}  // namespace
}  // namespace dfengine
