// A detector and pictures, as files and as bytes, for the tests of the C interface.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "engine/interface/dfengine.hpp"
#include "engine/model/predictor.h"
#include "engine/model/quantize.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/synth/synth.h"
#include "tests/support/device.h"
#include "tests/weights/scratch_folder.h"
#include "weights/read_file.h"

namespace dfengine::test {

class Interface : public testing::Test {
 protected:
  static constexpr int kPictures = 7;
  static constexpr Index kSide = 96;

  void SetUp() override {
    NetworkConfig config;
    config.width = 0.1;
    config.input_size = kSide;
    Model model = make_model(config, 4);
    model.temperature = 0.25;
    model.threshold = 0.4375;
    model.unsure = UnsureBand{0.25, 0.75};
    model_ = (folder_.path() / "model.safetensors").string();
    save_model(model_, model);
    for (std::uint64_t i = 0; i < kPictures; ++i) {
      const auto kind = i % 2 ? SynthClass::Fake : SynthClass::Real;
      const auto bytes = draw_synth_jpeg(2, i, 64 + 32 * static_cast<Index>(i), kind);
      files_.push_back((folder_.path() / ("p" + std::to_string(i) + ".jpg")).string());
      spill(files_.back(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
  }

  // Puts one of 8-bit integers in the model's place.
  void quantize_model() {
    ThreadPool pool(2);
    std::mt19937 random(5);
    std::vector<std::uint8_t> pixels(at(kLeastQuantizePictures * kSide * kSide * 3));
    for (std::uint8_t& value : pixels) value = static_cast<std::uint8_t>(random());
    const CpuBackend backend(pool);
    save_model(model_,
               quantize(load_model(model_), pixels.data(), kLeastQuantizePictures, backend).model);
  }

  std::vector<df_picture> as_files() const {
    std::vector<df_picture> all;
    for (const std::string& file : files_) all.push_back(df::file(file.c_str()));
    return all;
  }

  // The engine's own way: one thread, picture by picture.
  std::vector<std::vector<float>> from_engine(Predictor::Output output,
                                              Element element = Element::F32) const {
    const Model model = load_model(model_);
    ThreadPool pool(1);
    const CpuBackend backend(pool, element);
    Predictor predictor(model, backend, output);
    Preparer preparer(model.preparation());
    std::vector<std::uint8_t> pixels(kSide * kSide * 3);
    std::vector<std::vector<float>> rows;
    for (const std::string& file : files_) {
      preparer.prepare(file, pixels.data());
      rows.emplace_back(at(predictor.width()));
      predictor.run(pixels.data(), 1, rows.back().data());
    }
    return rows;
  }
  std::vector<double> expected_probabilities() const {
    const Model model = load_model(model_);
    std::vector<double> all;
    for (const auto& row : from_engine(Predictor::Output::Logits))
      all.push_back(model.probability(row[0]));
    return all;
  }

  ScratchFolder folder_;
  std::string model_;
  std::vector<std::string> files_;
};

// Runs body in a child, which an alarm ends where it waits for ever: 0 when body gives true, else
// what waitpid says.
template <class Body>
int in_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body() ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

inline df_session_options options_with(int threads, int batch) {
  auto options = df::sized<df_session_options>();
  options.threads = threads;
  options.batch = batch;
  return options;
}

}  // namespace dfengine::test
