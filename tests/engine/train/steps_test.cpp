// Image steps and feature steps are two ways to the same gradients of the head.
#include "engine/train/steps.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "engine/runtime/cpu/cpu_backend.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/train/train_support.h"
#include "tests/support/tolerance.h"

namespace dfengine {
namespace {

constexpr TrainPhase kHeadAlone{0, kWholeBase};

// One way of steps with everything it needs, the base frozen.
struct Way {
  Way(const TrainOptions& o, const TrainPhase& phase,
      std::unique_ptr<TrainingSteps> (*make)(const StepsInput&))
      : options(o), model(make_model(tiny(o), o.seed)) {
    steps = make({model, train, valid, options, phase, backend, pool, never, bad_files, cut});
  }

  // The sums of the next step; nothing after the last. Without a learning rate only running
  // statistics move.
  std::optional<StepSums> next(std::uint64_t step, double learning_rate = 0) {
    if (!steps->next({options.seed, step, learning_rate}, StepEnd::Update)) return std::nullopt;
    return steps->training().collect();
  }
  Moments zero_moments() const {
    const std::vector<float> zero(at(model.parameters.learned_count()));
    return {zero, zero};
  }
  // Brings what was trained to the model.
  void download() { scaler = steps->training().download(); }

  static NetworkConfig tiny(const TrainOptions& o) {
    NetworkConfig config = test::tiny_config();
    config.dropout = o.dropout;
    return config;
  }

  TrainOptions options;
  Model model;
  Dataset train = test::split_of(test::synth_set(), "train");
  Dataset valid = test::split_of(test::synth_set(), "valid");
  ThreadPool pool{2};
  CpuBackend backend{pool};
  std::atomic<bool> never{false};
  BadFiles bad_files;
  Communicator alone;
  Cut cut = Cut::of(1, alone);
  ScalerState scaler;
  std::unique_ptr<TrainingSteps> steps;
};

TEST(Steps, ImagesAndFeaturesGiveTheSameLosses) {
  TrainOptions o = test::tiny_options("");
  for (bool hflip : {false, true}) {
    o.augment.hflip = hflip;
    o.batch_size = hflip ? 10 : 4;  // of 4, the six validation pictures come in two parts
    Way images(o, kHeadAlone, make_image_steps), features(o, kHeadAlone, make_feature_steps);
    std::uint64_t total = 0;
    for (int epoch : {0, 1}) {
      images.steps->start(epoch, 0);
      features.steps->start(epoch, 0);
      while (true) {
        const auto a = images.next(total, 0.01), b = features.next(total, 0.01);
        ++total;
        ASSERT_EQ(a.has_value(), b.has_value());
        if (!a) break;
        SCOPED_TRACE(testing::Message() << "hflip " << hflip << " step " << total);
        EXPECT_EQ(a->n, b->n);
        EXPECT_EQ(a->loss, b->loss);
        EXPECT_EQ(a->right, b->right);
      }
      images.download();
      features.download();
      const auto a = images.steps->validate(), b = features.steps->validate();
      ASSERT_TRUE(a && b);
      EXPECT_EQ(a->label, b->label);
      EXPECT_EQ(a->prob, b->prob);
    }
    for (const ParamSpec& p : images.model.parameters.specs())
      EXPECT_EQ(test::parameter(images.model, p.name), test::parameter(features.model, p.name))
          << p.name;
  }
}

TEST(Steps, ValidationSeesTheInterrupt) {
  TrainOptions o = test::tiny_options("");
  o.batch_size = 2;
  for (auto make : {make_image_steps, make_feature_steps}) {
    Way way(o, kHeadAlone, make);
    way.never = true;
    EXPECT_FALSE(way.steps->validate());
    way.never = false;
    EXPECT_TRUE(way.steps->validate());
  }
}

TEST(Steps, BeginAnEpochAtAnyStep) {
  const TrainOptions o = test::tiny_options("");
  for (auto make : {make_image_steps, make_feature_steps}) {
    Way way(o, kHeadAlone, make);
    way.steps->start(1, 0);
    std::vector<StepSums> all;
    while (const auto r = way.next(all.size())) all.push_back(*r);
    ASSERT_EQ(all.size(), static_cast<std::size_t>(test::kTinySteps));
    EXPECT_EQ(all.back().n, test::kTinyRest);
    for (std::size_t first = 0; first <= all.size(); ++first) {
      way.steps->start(1, static_cast<Index>(first));
      for (std::size_t i = first; i < all.size(); ++i) {
        const auto r = way.next(i);
        ASSERT_TRUE(r.has_value());
        EXPECT_EQ(r->loss, all[i].loss);
        EXPECT_EQ(r->n, all[i].n);
      }
      EXPECT_FALSE(way.next(0).has_value()) << "started at step " << first;
    }
  }
}

TEST(Steps, PlannedBytesAreThereBeforeTheFirstEpochAndStay) {
  const TrainOptions o = test::tiny_options("");
  for (auto make : {make_image_steps, make_feature_steps}) {
    Way way(o, kHeadAlone, make);
    const Index planned = way.steps->planned_bytes();
    way.steps->start(0, 0);
    while (way.next(0)) {
    }
    way.steps->validate();
    EXPECT_EQ(way.steps->planned_bytes(), planned);
  }
}

// The head's gradients against central differences of the loss would repeat the layers' tests; here
// only that the sums are sums: the loss of n pictures at logit z is n log 2 for z = 0.
TEST(Steps, ResultsAreSumsOverTheBatch) {
  TrainOptions o = test::tiny_options("");
  Way way(o, kHeadAlone, make_feature_steps);
  const int w = way.model.parameters.find("head.fc2.weight");
  const std::vector<float> zeros(128);
  way.model.parameters.set(w, std::span<const float>(zeros));
  way.steps->training().upload(way.zero_moments(), {});
  way.steps->start(0, 0);
  Index fakes = 0, correct = 0;
  for (const std::uint32_t i : epoch_order(48, o.seed, 0, true))
    fakes += way.train.samples[i].label;
  while (const auto r = way.next(0)) {
    EXPECT_NEAR(r->loss, static_cast<double>(r->n) * std::log(2.0),
                test::tolerance<float>(static_cast<double>(r->n), static_cast<double>(r->n)));
    correct += r->right;
  }
  EXPECT_EQ(correct, fakes);  // probability 0.5 is called fake
}

TEST(Steps, FrozenRunningStatisticsRest) {
  TrainOptions o = test::tiny_options("");
  const TrainPhase phase{0, 3};
  Way way(o, phase, make_image_steps);
  const Model before = make_model(Way::tiny(o), o.seed);
  way.steps->start(0, 0);
  way.next(0);  // without a learning rate
  way.download();
  const Trainable trainable = before.network.trainable_above(phase.frozen_blocks);
  for (const ParamSpec& p : before.parameters.specs()) {
    const bool moves = !is_learned(p.role) && trainable(p);
    EXPECT_EQ(test::parameter(before, p.name) != test::parameter(way.model, p.name), moves)
        << p.name;
  }
}

}  // namespace
}  // namespace dfengine
