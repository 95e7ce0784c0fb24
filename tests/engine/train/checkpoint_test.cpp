// Checkpoint files that are damaged, foreign or made up: always a ModelFileError with the file's
// name, never a crash.
#include "engine/train/checkpoint.h"

#include <gtest/gtest.h>

#include <functional>

#include "kernels/base/error.h"
#include "tests/engine/train/train_support.h"

namespace dfengine {
namespace {

using nlohmann::json;
using weights::TensorFile;

class CheckpointFile : public testing::Test {
 protected:
  void SetUp() override {
    options_ = test::tiny_options(scratch_.path() / "run");
    test::train_steps(options_, 2);
    file_ = weights::read_safetensors(path());
  }

  std::filesystem::path path() const { return options_.output / kCheckpoint; }

  void expect_refused(const char* what) {
    SCOPED_TRACE(what);
    const std::string text =
        test::message_of<ModelFileError>([&] { test::train_to_end(options_, true); });
    EXPECT_NE(text.find(path().string()), std::string::npos) << text;
  }

  void expect_refused(const char* what, const std::function<void(TensorFile&)>& spoil) {
    TensorFile file = file_;
    spoil(file);
    weights::write_safetensors(path(), file);
    expect_refused(what);
  }

  // The state or options entry with one field changed.
  void expect_refused(const char* entry, const char* field, const json& value) {
    expect_refused((std::string(entry) + "." + field + " = " + value.dump()).c_str(),
                   [&](TensorFile& file) {
                     json j = json::parse(file.metadata.at(entry));
                     ASSERT_TRUE(j.contains(field)) << field;
                     j[field] = value;
                     file.metadata[entry] = j.dump();
                   });
  }

  test::ScratchFolder scratch_;
  TrainOptions options_;
  TensorFile file_;
};

TEST_F(CheckpointFile, CutShortOrAbsent) {
  const std::string whole = test::slurp(path());
  for (std::size_t n :
       {std::size_t{0}, std::size_t{7}, std::size_t{500}, whole.size() / 2, whole.size() - 1}) {
    test::spill(path(), whole.substr(0, n));
    expect_refused("cut short");
  }
  std::filesystem::remove(path());
  expect_refused("absent");
}

TEST_F(CheckpointFile, AModelIsNotACheckpoint) {
  save_model(path(), make_model(test::tiny_config(), 0));
  expect_refused("a model");
}

TEST_F(CheckpointFile, WithoutOneOfItsParts) {
  for (const auto& [key, value] : std::map(file_.metadata)) {
    if (key != "train_state" && key != "run_options" && key != "data_digest") continue;
    expect_refused(key.c_str(), [&, k = key](TensorFile& f) { f.metadata.erase(k); });
    if (key != "data_digest")
      expect_refused(key.c_str(), [&, k = key](TensorFile& f) { f.metadata[k] = "[3, {"; });
  }
  for (std::size_t i = 0; i < file_.tensors.size(); ++i) {
    const std::string name = file_.tensors[i].name;
    if (name != "features.0.0.weight" && name != "head.fc2.bias" && !name.starts_with("optimizer"))
      continue;
    expect_refused(name.c_str(), [&](TensorFile& f) {
      f.tensors.erase(f.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    });
    expect_refused((name + " of integers").c_str(),
                   [&](TensorFile& f) { f.tensors[i].dtype = weights::DType::I32; });
  }
}

TEST_F(CheckpointFile, MomentsOfAnotherModel) {
  for (const char* name : {"optimizer.first_moment", "optimizer.second_moment"}) {
    expect_refused(name, [&](TensorFile& f) {
      const auto found = std::ranges::find(f.tensors, name, &weights::Tensor::name);
      const std::vector<float> few(3);
      *found = weights::make_tensor(name, {3}, std::span<const float>(few));
    });
  }
}

TEST_F(CheckpointFile, ANetworkThatIsNoDetector) {
  expect_refused("without head", [](TensorFile& f) {
    std::erase_if(f.tensors, [](const weights::Tensor& t) { return t.name.starts_with("head."); });
    f.metadata["head"] = "none";
  });
}

TEST_F(CheckpointFile, NumbersThatNoRunCanReach) {
  for (const char* field : {"epoch", "step", "seen", "correct", "best_epoch", "optimizer_steps"})
    expect_refused("train_state", field, -1);
  expect_refused("train_state", "epoch", options_.epochs + 1);
  expect_refused("train_state", "step", test::kTinySteps + 1);
  expect_refused("train_state", "step", std::int64_t{1} << 62);
  expect_refused("train_state", "rows", json::array({json::array({1, 2})}));
  expect_refused("train_state", "plateau", json::array());
  expect_refused("train_state", "epoch", "one");
  // What a cast would make another number of.
  for (const char* field : {"epoch", "step", "seen", "correct", "best_epoch", "optimizer_steps"})
    for (const json& value : {json(1e42), json(0.5), json(false), json(~std::uint64_t{0})})
      expect_refused("train_state", field, value);
  expect_refused("train_state", "epoch", std::int64_t{1} << 32);
  expect_refused("train_state", "scaler", json::array({0, 0, 1.0, std::int64_t{1} << 32}));
  for (const json& value : {json(1e42), json(1.5), json((std::int64_t{1} << 32) + 1)})
    expect_refused("run_options", "epochs", value);
  expect_refused("run_options", "epochs", 0);
  expect_refused("run_options", "batch_size", 0);
  expect_refused("run_options", "freeze", 20);
  expect_refused("run_options", "lr", nullptr);
  expect_refused("run_options", "optimizer", "sgd");
}

TEST_F(CheckpointFile, KeepsWhatTheModelKnows) {
  const Checkpoint c = load_checkpoint(path());
  EXPECT_EQ(c.model.notes.count("train_args"), 1U) << "the model's own note must not be lost";
  EXPECT_EQ(c.options.lr, options_.lr);
  EXPECT_EQ(c.options.data, options_.data);
}

}  // namespace
}  // namespace dfengine
