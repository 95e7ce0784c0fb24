#include "engine/train/run_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "kernels/base/json_integer.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr const char* kFiles[] = {kBestModel, kCheckpoint, kResults,
                                  kArguments, kBadFiles,   kValidPredictions};

// What eval and compare leave in theirs, which a run's report and charts would replace.
constexpr const char* kOfOthers[] = {"metrics.json", "compare.html", "report.html"};

bool has(const std::filesystem::path& folder, const char* name) {
  std::error_code error;
  return std::filesystem::exists(folder / name, error);
}

// The first checkpoint follows upon the first epoch's figures: a kill between them leaves these,
// and a run of several epochs begins anew.
bool has_kept_epochs(const std::filesystem::path& folder) {
  if (!has(folder, kBestModel) && !has(folder, kResults)) return false;
  if (!has(folder, kArguments)) return true;
  if (!has(folder, kResults)) return false;
  const std::string results = weights::read_text(folder / kResults);
  return std::ranges::count(results, '\n') > std::min(2, read_args(folder).epochs);
}

}  // namespace

bool is_run_folder(const std::filesystem::path& folder) {
  return has(folder, kCheckpoint) || has(folder, kArguments);
}

bool is_file_of_run(const std::filesystem::path& file) {
  const auto is_name = [&](const char* name) { return file.filename() == name; };
  return std::ranges::any_of(kFiles, is_name) && is_run_folder(file.parent_path());
}

UniqueFd create_run_folder(const std::filesystem::path& folder) {
  make_folder(folder);
  UniqueFd lock = lock_folder(folder);
  if (has(folder, kCheckpoint))
    throw UsageError(folder.string() +
                     " already holds a run: go on with --resume, or name another --output");
  if (has_kept_epochs(folder))
    throw UsageError(fmt::format(
        "{} already holds what a run kept, but no {} to go on from: name another --output",
        folder.string(), kCheckpoint));
  for (const char* name : kOfOthers)
    if (has(folder, name) && !has(folder, kArguments))
      throw UsageError(fmt::format("{} already holds {}, which is of no run: name another --output",
                                   folder.string(), name));
  return lock;
}

void remove_leftovers(const std::filesystem::path& folder) {
  for (const char* name : kFiles) remove_temporaries(folder / name);
}

void write_args(const TrainOptions& options) {
  nlohmann::json args = all_settings(options);
  args["engine_version"] = DFENGINE_VERSION;
  write_text(options.output / kArguments, args.dump(2) + "\n");
}

TrainOptions read_args(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kArguments;
  const std::string text = weights::read_text(path);
  try {
    return train_options_from_json(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& e) {
    throw ModelFileError(path.string() + ": " + json_fault(e));
  } catch (const ModelFileError& e) {
    throw ModelFileError(path.string() + ": " + e.what());
  }
}

void write_results(const std::filesystem::path& folder, const std::vector<EpochRow>& rows) {
  std::string text =
      "epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_auc,lr,loss_scale,skipped,"
      "seconds,data_wait\n";
  for (const EpochRow& r : rows)
    text += fmt::format("{},{},{},{},{},{},{},{},{},{:.1f},{:.4f}\n", r.epoch, r.train_loss,
                        r.train_accuracy, r.valid_loss, r.valid_accuracy, r.valid_auc, r.lr,
                        r.loss_scale, r.skipped, r.seconds, r.data_wait);
  write_text(folder / kResults, text);
}

void write_valid_predictions(const std::filesystem::path& folder, const Predictions& predictions) {
  // A network's logits are floats, so this loses nothing.
  const std::vector<float> logit(predictions.logit.begin(), predictions.logit.end());
  const std::vector<std::int64_t> index(predictions.index.begin(), predictions.index.end());
  const std::vector<std::int64_t> shape = {std::ssize(index)};
  weights::TensorFile file;
  file.tensors = {weights::make_tensor("logit", shape, std::span<const float>(logit)),
                  weights::make_tensor("index", shape, std::span<const std::int64_t>(index))};
  weights::write_safetensors(folder / kValidPredictions, file);
}

Predictions read_valid_predictions(const std::filesystem::path& folder, const Dataset& valid,
                                   const Model& model) {
  const std::filesystem::path path = folder / kValidPredictions;
  const weights::TensorFile file = weights::read_safetensors(path);
  try {
    const weights::Tensor *logits = file.find("logit"), *indices = file.find("index");
    if (logits == nullptr || indices == nullptr) throw ModelFileError("no tensor logit or index");
    const std::vector<float> logit = weights::to_float(*logits);
    const std::vector<std::int64_t> index = weights::to_int64(*indices);
    if (logit.size() != index.size()) throw ModelFileError("its tensors differ in length");
    Predictions p;
    for (std::size_t i = 0; i < index.size(); ++i) {
      if (index[i] < 0 || index[i] >= std::ssize(valid.samples))
        throw ModelFileError(fmt::format("there is no picture {}", index[i]));
      p.index.push_back(static_cast<std::uint32_t>(index[i]));
      p.label.push_back(valid.samples[p.index[i]].label);
      p.logit.push_back(logit[i]);
      p.prob.push_back(model.probability(logit[i]));
    }
    return p;
  } catch (const ModelFileError& e) {
    throw ModelFileError(path.string() + ": not this run's validation predictions: " + e.what());
  }
}

}  // namespace dfengine
