#include "engine/tables/metadata/table_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/evaluate/evaluate.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"
#include "kernels/base/sigmoid.h"

namespace dfengine {
namespace {

constexpr const char* kPathColumn = "path";

// Some rows of a table.
CsvTable part_of(const CsvTable& table, const std::vector<std::size_t>& rows) {
  CsvTable part{table.columns, {}, {}};
  for (std::size_t i : rows) {
    part.rows.push_back(table.rows[i]);
    part.lines.push_back(table.lines[i]);
  }
  return part;
}

// Logits as image_logits gives them; with OnBad::Skip of the pictures that can be read.
Predictions run_image_model(const Model& model, ThreadPool& pool, const Dataset& pictures,
                            OnBad on_bad, const std::function<bool(Index)>& go_on) {
  if (pictures.samples.empty()) return {};
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, Predictor::Output::Logits);
  Loader loader(pictures, one_pass(model.preparation(), pool.size(), on_bad));
  Predictions p = predict_split(predictor, pictures, loader, go_on);
  for (double& z : p.logit) {
    if (std::isnan(z))
      throw ModelFileError("the image model's output is not a number: its weights are damaged");
    z /= model.temperature;
  }
  return p;
}

}  // namespace

Dataset table_pictures(const CsvTable& table, const std::filesystem::path& root,
                       const std::string& name) {
  const Index column = table.find(kPathColumn);
  if (column < 0) throw DataError(name + ": no column 'path' says where the pictures are");
  Dataset pictures;
  pictures.root = root;
  for (std::string_view path : column_values(table, column))
    pictures.samples.push_back({std::string(path), 0});
  return pictures;
}

std::vector<double> image_logits(const Model& model, ThreadPool& pool, const Dataset& pictures,
                                 const std::function<void(Index)>& done) {
  const auto go_on = [&](Index seen) {
    if (done) done(seen);
    return true;
  };
  return run_image_model(model, pool, pictures, OnBad::Fail, go_on).logit;
}

std::vector<double> to_probabilities(const std::vector<double>& logits) {
  std::vector<double> prob;
  for (double z : logits) prob.push_back(sigmoid(z));
  return prob;
}

PictureDetector::PictureDetector(const Model& image_model,
                                 const std::optional<HybridModel>& stacked)
    : model(image_model), hybrid(stacked && stacked->uses_metadata() ? &*stacked : nullptr) {}

std::vector<double> PictureDetector::logits(ThreadPool& pool, const CsvTable& table,
                                            const std::filesystem::path& root,
                                            const std::string& name,
                                            const std::function<void(Index)>& done) const {
  return logits(image_logits(model, pool, table_pictures(table, root, name), done), table, name);
}

std::vector<double> PictureDetector::logits(const std::vector<double>& image, const CsvTable& table,
                                            const std::string& name) const {
  return hybrid == nullptr ? image : hybrid->logits(image, table, name);
}

std::vector<double> around_half(std::vector<double> logits, double threshold) {
  // 0 and 1 have no logit: the nearest probabilities that have one.
  using Limits = std::numeric_limits<double>;
  const double t = std::clamp(threshold, Limits::min(), 1 - Limits::epsilon() / 2);
  const double middle = std::log(t) - std::log1p(-t);
  for (double& z : logits) z -= middle;
  return logits;
}

void keep_hybrid(Model& model, double before, const std::string& name_for_errors) {
  std::optional<HybridModel> hybrid = read_table_models(model.notes, name_for_errors).hybrid;
  if (!hybrid || !hybrid->uses_metadata()) return;
  hybrid->image_weight *= model.temperature / before;
  model.notes[kHybridEntry] = to_note(*hybrid);
}

std::vector<TableScore> score_table(const Model& model, const TableModels& detectors,
                                    ThreadPool& pool, const CsvTable& table,
                                    const std::filesystem::path& root, const std::string& name,
                                    const std::function<bool(Index)>& go_on) {
  using Source = TableScore::Source;
  std::vector<TableScore> scores(table.rows.size());
  std::vector<std::size_t> open;
  std::vector<double> first(scores.size());
  if (detectors.cascade) first = to_probabilities(detectors.cascade->metadata.logits(table, name));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const int verdict = detectors.cascade ? detectors.cascade->decide(first[i]) : -1;
    scores[i] = {first[i], verdict, Source::Metadata};
    if (verdict < 0) open.push_back(i);
  }
  const PictureDetector detector(model, detectors.hybrid);
  const Predictions pictures = run_image_model(
      model, pool, table_pictures(part_of(table, open), root, name), OnBad::Skip, go_on);
  const Source source = detector.hybrid != nullptr ? Source::Hybrid : Source::Image;
  std::vector<std::size_t> read;
  for (std::uint32_t k : pictures.index) read.push_back(open[k]);
  const auto prob = to_probabilities(detector.logits(pictures.logit, part_of(table, read), name));
  for (std::size_t k = 0; k < read.size(); ++k)
    scores[read[k]] = {prob[k], prob[k] >= detector.threshold() ? 1 : 0, source};
  for (const LeftOut& bad : pictures.left_out)
    scores[open[bad.index]] = {0, -1, source, bad.reason};
  return scores;
}

}  // namespace dfengine
