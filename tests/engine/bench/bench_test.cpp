// What dfengine bench measures: costs against counts made elsewhere, every kind of work on the CPU
// and on the device (in builds without CUDA its stand-in), steps, files, copies.
#include <gtest/gtest.h>

#include <numeric>

#include "engine/bench/files_bench.h"
#include "engine/bench/layer_bench.h"
#include "engine/bench/network_bench.h"
#include "engine/bench/timing.h"
#include "engine/model/predictor.h"
#include "engine/runtime/open_backend.h"
#include "tests/engine/data/data_support.h"
#include "tests/engine/train/train_support.h"
#include "tests/support/device.h"

namespace dfengine {
namespace {

constexpr Work kWorks[] = {Work::Infer, Work::Train, Work::Frozen, Work::Head};

Plan single(const Operation& operation, std::vector<Spec> specs) {
  Graph graph;
  std::vector<ValueId> inputs;
  for (std::size_t i = 0; i < specs.size(); ++i)
    inputs.push_back(graph.add_input("x" + std::to_string(i)));
  graph.mark_output(graph.add("one", operation, inputs), "y");
  ThreadPool pool(1);
  return Plan::build(graph, specs, {}, CpuBackend(pool));
}

TEST(StepCost, CountsInputsOutputsAndWeightsOnce) {
  const Spec x{{2, 3, 4, 8}, Element::F32};
  const Plan plan = single(Convolution{.in = 8, .out = 16}, {x});
  constexpr Index kRows = 2 * 3 * 4;
  const auto costs = step_costs(plan);
  ASSERT_EQ(costs.size(), 1u);
  EXPECT_EQ(costs[0], (StepCost{4 * (kRows * 8 + kRows * 16 + 8 * 16), 2 * kRows * 8 * 16}));

  const auto add = single(Add{}, {x, x});
  EXPECT_EQ(total_cost(add), (StepCost{3 * x.bytes(), 0}));
}

// 300,774,272 multiply-adds are what torchvision's mobilenet_v2 takes at 224 (fvcore and others
// count the same), 1,280,000 of them in the ImageNet head, which a detector replaces.
TEST(StepCost, WholeNetworkHasThePublishedOperations) {
  constexpr Index kConvolutions = 300'774'272 - 1'280'000, kHead = 1280 * 128 + 128;
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  const BenchTarget target({}, pool, backend);
  EXPECT_EQ(total_cost(Workload(target, Work::Infer).plan(1)).flops, 2 * (kConvolutions + kHead));

  // Backward: once for the data and once for the weights; the stem has no data gradient.
  constexpr Index kStem = 112 * 112 * 32 * 27;
  EXPECT_EQ(total_cost(Workload(target, Work::Train).plan(2)).flops,
            2 * 2 * (3 * (kConvolutions + kHead) - kStem));
  // The head's first layer passes nothing on to the frozen base.
  EXPECT_EQ(total_cost(Workload(target, Work::Frozen).plan(1)).flops,
            2 * (kConvolutions + 3 * kHead - 1280 * 128));
}

TEST(StepCost, AFrozenBaseMovesLessThanATrainedOne) {
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  const BenchTarget target(test::tiny_config(), pool, backend);
  const auto bytes = [&](Work work) { return total_cost(Workload(target, work).plan(4)).bytes; };
  EXPECT_GT(bytes(Work::Train), bytes(Work::Frozen));
  EXPECT_GT(bytes(Work::Frozen), bytes(Work::Infer));
  EXPECT_GT(bytes(Work::Infer), bytes(Work::Head));
}

TEST(BenchTiming, MedianAndRounds) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 2}), 2);
  EXPECT_EQ(median({8, 1, 2, 4}), 3);
  Index done = 0;
  const Timing t = time_on_host({3, 1.0}, [&](Index repeats) { done += repeats; });
  EXPECT_EQ(t.rounds, 3);
  EXPECT_GT(t.repeats, 1);
  EXPECT_EQ(done, 2 + 4 * t.repeats);
  EXPECT_LE(t.fastest_ms, t.median_ms);
  EXPECT_THROW(time_on_host({0, 1.0}, [](Index) {}), UsageError);
  ThreadPool pool(2);
  EXPECT_GT(copy_rate(CpuBackend(pool), 1 << 20, 1), 0);
}

// In fp16 nothing is below 6e-8.
TEST(RandomModel, FeaturesOfInferenceAreOfOrdinarySize) {
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  const Model model = random_model({test::tiny_config(), pool, backend});
  Predictor predictor(model, backend, Predictor::Output::Pooled);
  RandomBatches pictures({{1, 96, 96, 3}, Element::U8}, 1);
  std::vector<float> pooled(static_cast<std::size_t>(predictor.width()));
  predictor.run(reinterpret_cast<const std::uint8_t*>(pictures.next()), 1, pooled.data());
  const double mean = std::accumulate(pooled.begin(), pooled.end(), 0.0) / double(pooled.size());
  EXPECT_GT(mean, 0.01);
  EXPECT_LT(mean, 6);
}

TEST(RandomBatches, TakeTurnsAndAreRandom) {
  RandomBatches pictures({{1, 96, 96, 3}, Element::U8}, 2), features({{1, 1, 1, 5}}, 3);
  const std::byte* first = pictures.next();
  const std::byte* second = pictures.next();
  EXPECT_EQ(second - first, 2 * 96 * 96 * 3);
  EXPECT_NE(std::memcmp(first, second, 2 * 96 * 96 * 3), 0);
  for (std::size_t i = 2; i < pictures.all().size() / (2 * 96 * 96 * 3); ++i) pictures.next();
  EXPECT_EQ(pictures.next(), first);
  EXPECT_EQ(features.targets(), (std::vector<float>{0, 1, 0}));
  const auto* values = reinterpret_cast<const float*>(features.next());
  for (int i = 0; i < 15; ++i) EXPECT_TRUE(values[i] > 0 && values[i] <= 1) << values[i];
}

void expect_sound(const NetworkTiming& t, Work work, Index batch) {
  SCOPED_TRACE(name_of(work));
  EXPECT_EQ(t.work, work);
  EXPECT_EQ(t.batch, batch);
  EXPECT_EQ(t.step.rounds, 1);
  EXPECT_GT(t.images_per_second(), 0);
  EXPECT_GT(t.gigabytes_per_second(), 0);
  EXPECT_GT(t.cost.flops, 0);
  EXPECT_GT(t.planned_bytes, 0);
}

TEST(NetworkBench, EveryWorkOnTheCpu) {
  ThreadPool pool(2);
  const CpuBackend backend(pool);
  const BenchTarget target(test::tiny_config(), pool, backend, 1);
  for (const Work work : kWorks) {
    const NetworkTiming t = measure_network(target, work, 3);
    expect_sound(t, work, 3);
    EXPECT_EQ(t.fed.rounds, 0);
  }
  EXPECT_THROW(measure_network(target, Work::Infer, 0), UsageError);
}

// Training goes the head's way.
TEST(NetworkBench, InferenceAndStepsOnTheDevice) {
  DF_NEEDS_DEVICE();
  DF_SLOW_UNDER_SANITIZERS();
  ThreadPool pool(1);
  const CudaBackend backend({.precision = Precision::Fp16});
  NetworkConfig config = test::tiny_config();
  config.hidden = 8;
  const BenchTarget target(config, pool, backend, 1);
  for (const Work work : {Work::Infer, Work::Head}) {
    const NetworkTiming t = measure_network(target, work, 1);
    expect_sound(t, work, 1);
    EXPECT_EQ(t.fed.rounds, 1);
    EXPECT_GT(t.fed.median_ms, 0);
  }
  EXPECT_GT(copy_rate(backend, 1 << 20, 1), 0);
}

void expect_rows(const LayerTable& table, const Plan& plan) {
  ASSERT_EQ(table.steps.size(), plan.steps().size());
  for (const LayerTiming& s : table.steps) EXPECT_GT(s.ms, 0) << s.layer;
  EXPECT_EQ(table.total_cost(), total_cost(plan));
  EXPECT_GE(table.total_ms(), table.steps.front().ms);
  EXPECT_EQ(table.arena_bytes, plan.arena_bytes());
}

TEST(LayerBench, OneRowPerStepOnTheCpu) {
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  const BenchTarget target(test::tiny_config(), pool, backend, 2);
  const LayerTable infer = measure_layers(target, Work::Infer, 32);
  EXPECT_LT(infer.batch, 32);  // what goes through the network together
  expect_rows(infer, Workload(target, Work::Infer).plan(infer.batch));
  const LayerTable train = measure_layers(target, Work::Train, 2);
  EXPECT_EQ(train.steps.front().pass, StepKind::Forward);
  EXPECT_EQ(train.steps.back().pass, StepKind::Backward);
  expect_rows(train, Workload(target, Work::Train).plan(2));
}

TEST(LayerBench, OneRowPerStepOnTheDevice) {
  DF_NEEDS_DEVICE();
  ThreadPool pool(1);
  for (const bool graphs : {true, false}) {
    const CudaBackend backend({.precision = Precision::Fp16, .graphs = graphs});
    NetworkConfig config = test::tiny_config();
    config.hidden = 8;
    const BenchTarget target(config, pool, backend, 1);
    const LayerTable head = measure_layers(target, Work::Head, 2);
    expect_rows(head, Workload(target, Work::Head).plan(2));
  }
}

TEST(FilesBench, TrainsOnPicturesAndLeavesBadOnesOut) {
  const test::ScratchFolder folder;
  std::filesystem::copy(
      test::synth_set(), folder.path(),
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  ThreadPool pool(2);
  const CpuBackend backend(pool);
  const BenchTarget target(test::tiny_config(), pool, backend);
  Dataset dataset = test::split_of(folder.path(), "train");
  dataset.samples.resize(7);
  LoaderOptions how;
  how.batch = 4;
  const FilesTiming t = measure_files_training(target, dataset, how, 0.2);
  EXPECT_GE(t.pictures, 4);
  EXPECT_EQ(t.batch, 4);
  EXPECT_GT(t.images_per_second, 0);
  EXPECT_GE(t.waited, 0);
  EXPECT_LT(t.waited, 1);

  test::spill(dataset.path(dataset.samples[0]), "no picture");
  how.on_bad = OnBad::Skip;
  EXPECT_GT(measure_files_training(target, dataset, how, 0.1).pictures, 0);
  how.on_bad = OnBad::Fail;
  EXPECT_THROW(measure_files_training(target, dataset, how, 0.1), DataError);
  dataset.samples.clear();
  EXPECT_THROW(measure_files_training(target, dataset, how, 0.1), DataError);
}

}  // namespace
}  // namespace dfengine
