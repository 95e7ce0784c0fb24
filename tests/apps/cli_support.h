// What the tests of the program share: pictures, a model and a trained run, each made when first
// asked for, and readers of what the program writes.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/model/model.h"
#include "engine/synth/synth.h"
#include "tests/apps/run_program.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine::test {

namespace fs = std::filesystem;

inline const fs::path& shared_folder() {
  static const ScratchFolder folder;
  return folder.path();
}

// 32 pictures to train on, 4 to validate, 4 to test.
inline const std::string& picture_set() {
  static const std::string path = [] {
    SynthOptions options;
    options.output = shared_folder() / "set";
    options.count = 40;
    options.seed = 9;
    write_synth_set(options);
    return options.output.string();
  }();
  return path;
}

inline NetworkConfig small_config() {
  NetworkConfig config;
  config.width = 0.1;
  config.input_size = 96;
  return config;
}

// A detector with random weights.
inline const std::string& model_file() {
  static const std::string path = [] {
    const fs::path file = shared_folder() / "model.safetensors";
    Model model = make_model(small_config(), 4);
    model.temperature = 0.25;
    model.threshold = 0.4375;
    save_model(file, model);
    return file.string();
  }();
  return path;
}

// train's arguments for a run of two epochs of four steps.
inline std::vector<std::string> train_arguments(const fs::path& output,
                                                const std::vector<std::string>& more = {}) {
  std::vector<std::string> all = {
      "train",     "--data",   picture_set(), "--output", output.string(),
      "--width",   "0.1",      "--img-size",  "96",       "--batch-size",
      "9",         "--epochs", "2",           "--lr",     "0.002",
      "--threads", "1",        "--seed",      "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// A finished run.
inline const fs::path& trained_run() {
  static const fs::path path = [] {
    const fs::path run = shared_folder() / "run";
    const Outcome o = run_program(train_arguments(run));
    EXPECT_EQ(o.code, 0) << o.err;
    return run;
  }();
  return path;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Works in another folder, so that a program that should write nothing does no harm where it does.
class Inside {
 public:
  explicit Inside(const fs::path& folder) : before_(fs::current_path()) {
    fs::current_path(folder);
  }
  ~Inside() { fs::current_path(before_); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  fs::path before_;
};

// Rows of RFC 4180 text.
inline std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row(1);
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      row.back() += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      row.emplace_back();
    } else if (!quoted && c == '\n') {
      rows.push_back(std::move(row));
      row.assign(1, "");
    } else {
      row.back() += c;
    }
  }
  EXPECT_FALSE(quoted) << "an open quote";
  EXPECT_EQ(row, std::vector<std::string>(1)) << "the last line has no end";
  return rows;
}

}  // namespace dfengine::test
