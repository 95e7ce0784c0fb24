// What the tests of training share: one tiny picture set for the process, short runs, and the
// comparison of two run folders bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "engine/synth/synth.h"
#include "engine/train/run_files.h"
#include "engine/train/trainer.h"
#include "tests/weights/scratch_folder.h"
#include "weights/safetensors.h"

namespace dfengine::test {

// 48 pictures to train on, 6 to validate, made once per process.
inline const std::filesystem::path& synth_set() {
  static const ScratchFolder folder;
  static const bool made = [] {
    SynthOptions options;
    options.output = folder.path();
    options.count = 60;
    options.seed = 5;
    write_synth_set(options);
    return true;
  }();
  (void)made;
  return folder.path();
}

// Two epochs of five steps, the last of 8 pictures instead of 10, through the smallest network.
inline TrainOptions tiny_options(const std::filesystem::path& output) {
  TrainOptions o;
  o.data = synth_set();
  o.output = output;
  o.epochs = 2;
  o.batch_size = 10;
  o.lr = 1e-3;
  o.head_epochs = 0;
  o.img_size = 96;
  o.width = 0.1;
  o.seed = 3;
  o.threads = 1;
  return o;
}
constexpr Index kTinySteps = 5;  // of an epoch
constexpr Index kTinyRest = 8;   // pictures of the last one

inline NetworkConfig tiny_config() {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  return config;
}

inline TrainResult train_to_end(const TrainOptions& o, bool resume = false) {
  const std::atomic<bool> never{false};
  return train(o, resume, {}, never);
}

// The run stops itself when `steps` of its steps are done.
inline TrainResult train_steps(const TrainOptions& o, int steps, bool resume = false) {
  std::atomic<bool> interrupt{false};
  TrainObserver observer;
  int done = 0;
  observer.step = [&](const TrainObserver::Progress&) { interrupt = ++done >= steps; };
  return train(o, resume, observer, interrupt);
}

// results.csv without its last column, the seconds.
inline std::vector<std::string> results_without_seconds(const std::filesystem::path& folder) {
  std::istringstream in(slurp(folder / kResults));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    for (int column = 0; column < 2; ++column) line.resize(line.rfind(','));  // and data_wait
    lines.push_back(line);
  }
  return lines;
}

inline nlohmann::json without_seconds(nlohmann::json state) {
  state.erase("seconds");
  state.erase("waited");
  for (nlohmann::json& row : state.at("rows")) {
    row.erase(row.size() - 1);
    row.erase(row.size() - 1);
  }
  return state;
}

// Tensors bit for bit, and all that a checkpoint says except times, places and threads.
inline void expect_same_checkpoint(const std::filesystem::path& a, const std::filesystem::path& b) {
  const weights::TensorFile x = weights::read_safetensors(a / kCheckpoint);
  const weights::TensorFile y = weights::read_safetensors(b / kCheckpoint);
  ASSERT_EQ(x.tensors.size(), y.tensors.size());
  for (std::size_t i = 0; i < x.tensors.size(); ++i) {
    EXPECT_EQ(x.tensors[i].name, y.tensors[i].name);
    EXPECT_TRUE(x.tensors[i].bytes == y.tensors[i].bytes) << x.tensors[i].name;
  }
  const auto state = [](const weights::TensorFile& file) {
    return without_seconds(nlohmann::json::parse(file.metadata.at("train_state")));
  };
  EXPECT_EQ(state(x), state(y));
  EXPECT_EQ(x.metadata.at("data_digest"), y.metadata.at("data_digest"));
}

// Everything two runs of the same settings must agree in.
inline void expect_same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* file : {kBestModel, kValidPredictions})
    EXPECT_TRUE(slurp(a / file) == slurp(b / file)) << file << " differs";
  EXPECT_EQ(results_without_seconds(a), results_without_seconds(b));
  expect_same_checkpoint(a, b);
}

// The folder holds exactly these files: no temporary one is left.
inline void expect_files(const std::filesystem::path& folder, const std::set<std::string>& wanted) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    found.insert(entry.path().filename().string());
  EXPECT_EQ(found, wanted);
}

inline std::vector<float> parameter(const Model& model, const std::string& name) {
  return model.parameters.get(model.parameters.find(name));
}

}  // namespace dfengine::test
