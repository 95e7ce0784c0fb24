#include "engine/report/export/model_card.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/train/run_files.h"
#include "kernels/base/atomic_file.h"

namespace dfengine::report {
namespace {

constexpr const char* kFirst = "---\nlibrary_name: dfengine\n";
// A card that a person has worked on says something else.
constexpr const char* kNoLicence = "license_name: not-stated\n";

// A JSON string is a YAML string.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// On the page a name must not be taken for markup.
std::string code(const std::string& text) {
  std::string plain;
  for (const char c : text) plain += c == '`' || static_cast<unsigned char>(c) < ' ' ? '?' : c;
  return "`" + plain + "`";
}

std::string name_of(const std::filesystem::path& path) {
  const std::filesystem::path clean = path.lexically_normal();
  return (clean.has_filename() ? clean : clean.parent_path()).filename().string();
}

struct Facts {
  std::string base, data;
  Index train_count = 0;
  Metrics figures;  // of the validation pictures, by the kept model as it is
};

// Without those that cannot be read.
Index count_used(const Dataset& split, const std::vector<BadFile>& bad_files) {
  std::set<std::string> unread;
  for (const BadFile& bad : bad_files)
    if (bad.split == split.split) unread.insert(bad.relative);
  return std::ranges::count_if(split.samples,
                               [&](const Sample& s) { return !unread.contains(s.relative); });
}

Facts facts_of(const TrainResult& result, const Model& kept, const Predictions& valid) {
  Facts f;
  const std::filesystem::path& weights = result.options.weights;
  f.base = weights.empty() ? "none" : name_of(weights);
  const std::filesystem::path data =
      result.options.data.empty() ? result.options.csv : result.options.data;
  f.data = name_of(data);
  f.train_count = count_used(result.splits.at(0), result.state.bad_files);
  f.figures = compute_metrics(valid.scores(), valid.label, kept.threshold);
  return f;
}

std::string head(const Facts& f) {
  std::string text = kFirst;
  text +=
      "pipeline_tag: image-classification\n"
      "license: other\n";
  text += kNoLicence;
  text += "tags:\n- deepfake-detection\n- mobilenet_v2\n";
  if (f.base != "none") text += fmt::format("base_model: {}\n", quoted(f.base));
  text += fmt::format("datasets:\n- {}\nmetrics:\n- roc_auc\n- accuracy\n", quoted(f.data));
  text += fmt::format(
      "model-index:\n- name: dfengine\n  results:\n  - task:\n      type: image-classification\n"
      "    dataset:\n      name: {0}\n      type: {0}\n      split: validation\n    metrics:\n"
      "    - type: roc_auc\n      value: {1:.4f}\n    - type: accuracy\n      value: {2:.4f}\n",
      quoted(f.data), f.figures.roc_auc, f.figures.accuracy);
  return text + "---\n";
}

}  // namespace

std::string model_card(const TrainResult& result, const Model& kept, const Predictions& valid) {
  const Facts f = facts_of(result, kept, valid);
  std::string text = head(f);
  text += fmt::format(
      "# A detector of synthetic faces\n\n"
      "{} with one logit, made by dfengine {}. Positive means {}: the model gives the probability "
      "that a picture is {}, calibrated with temperature {:.4g}; from {:.4g} on it says {}.\n\n",
      kept.network.title, DFENGINE_VERSION, code(kept.positive_class), code(kept.positive_class),
      kept.temperature, kept.threshold, code(kept.positive_class));
  text += fmt::format(
      "## Use\n```\ndfengine predict --model {0} PICTURE...\ndfengine serve --model {0}\n```\n"
      "Pictures are made {1} x {1} pixels; all that a prediction needs stands in the file.\n\n",
      kBestModel, kept.config.input_size);
  text += fmt::format(
      "## Data\n{} pictures to train and {} to validate, of {} (digest {}). Base weights: {}.\n\n",
      f.train_count, f.figures.n, code(f.data), code(result.data_digest), code(f.base));
  text += fmt::format(
      "## Figures\nOf the validation pictures, by which the epoch was chosen and the threshold and "
      "the temperature fitted, so that they flatter the model:\n\n"
      "| epoch | ROC-AUC | accuracy | log loss |\n|---|---|---|---|\n| {} | {:.4f} | {:.4f} | "
      "{:.4f} |\n\nFor figures that do not, measure on other pictures: `dfengine eval`.\n\n",
      result.state.best_epoch, f.figures.roc_auc, f.figures.accuracy, f.figures.log_loss);
  text +=
      "## Limits\n"
      "- It knows the generators, crops and compressions of its training pictures. On others it "
      "can be no better than chance.\n"
      "- It looks at single faces in pictures. It says nothing about who made a picture, or why.\n"
      "- Groups of people that are rare in the training pictures may be judged worse. That was not "
      "measured.\n"
      "- No decision about a person should rest on its answer alone.\n\n"
      "## Licence\n"
      "The run does not know under which terms its pictures and base weights stand. Say here under "
      "which yours may be used, and in the head of this file.\n";
  return text;
}

void write_model_card(const TrainResult& result, const Model& kept, const Predictions& valid) {
  const std::filesystem::path file = result.options.output / kModelCard;
  if (std::ifstream stream(file, std::ios::binary); stream) {
    const std::string text(std::istreambuf_iterator<char>(stream), {});
    if (text.find(kNoLicence) == std::string::npos) return;
  }
  write_text(file, model_card(result, kept, valid));
}

}  // namespace dfengine::report
