#include "engine/tables/metadata/metadata_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/data/digest.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/checksum.h"
#include "kernels/base/error.h"
#include "kernels/base/json_integer.h"
#include "weights/json_extent.h"
#include "weights/read_file.h"

namespace dfengine {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "dfengine metadata 1";

// Text that need not be UTF-8 becomes U+FFFD where it is not; such a level is then never met again.
std::string dump(const json& j, int indent) {
  return j.dump(indent, ' ', false, json::error_handler_t::replace);
}

std::string digest_of(const json& metadata) {
  return fmt::format("{:016x}", checksum(dump(metadata, -1)));
}

json to_json(const MetadataModel& m) {
  return {{"columns", to_json(m.encoder)},
          {"weights", m.regression.weights},
          {"intercept", m.regression.intercept},
          {"file_properties", m.file_properties},
          {"trained_on", m.trained_on}};
}

MetadataModel metadata_from(const json& j) {
  MetadataModel m;
  m.encoder = encoder_from_json(j.at("columns"));
  j.at("weights").get_to(m.regression.weights);
  j.at("intercept").get_to(m.regression.intercept);
  j.at("file_properties").get_to(m.file_properties);
  j.at("trained_on").get_to(m.trained_on);
  const auto finite = [](double w) { return std::isfinite(w); };
  if (std::ssize(m.regression.weights) != m.encoder.features() ||
      !std::ranges::all_of(m.regression.weights, finite) || !finite(m.regression.intercept))
    throw ModelFileError(fmt::format("{} weights for {} features, or one that is not a number",
                                     m.regression.weights.size(), m.encoder.features()));
  return m;
}

HybridModel hybrid_from(const json& j) {
  HybridModel h{j.at("image_weight").get<double>(), metadata_from(j.at("metadata"))};
  if (!std::isfinite(h.image_weight)) throw ModelFileError("image_weight is not a number");
  return h;
}

std::optional<double> optional_from(const json& j) {
  return j.is_null() ? std::nullopt : std::optional(j.get<double>());
}

Cascade cascade_from(const json& j) {
  const Cascade c{metadata_from(j.at("metadata")), optional_from(j.at("real_below")),
                  optional_from(j.at("fake_above")), j.at("max_error").get<double>(),
                  j.at("confidence").get<double>()};
  for (const double share :
       {c.real_below.value_or(0), c.fake_above.value_or(1), c.max_error, c.confidence})
    if (!(share >= 0 && share <= 1))
      throw ModelFileError(fmt::format("{} is no probability from 0 to 1", share));
  return c;
}

// Whatever is wrong with a text becomes a ModelFileError that begins with `where`.
template <class From>
auto parse(const std::string& text, const std::string& where, From from) {
  constexpr std::size_t kMaxDepth = 32;  // more than ours have
  if (!json::accept(text)) throw ModelFileError(where + ": is no JSON");
  if (weights::json_extent(text).depth > kMaxDepth)
    throw ModelFileError(where + ": nested deeper than any that dfengine writes");
  try {
    return from(json::parse(text));
  } catch (const json::exception& e) {
    throw ModelFileError(where + ": is not as dfengine writes it: " + json_fault(e));
  } catch (const ModelFileError& e) {
    throw ModelFileError(where + ": " + e.what());
  }
}

}  // namespace

std::vector<double> MetadataModel::logits(const CsvTable& table, const std::string& name) const {
  return regression.logits(encoder.encode(table, name));
}

MetadataModel fit_metadata(const CsvTable& table, const std::vector<int>& label,
                           const std::vector<std::string>& columns, const std::string& name) {
  if (columns.empty())
    throw DataError(name +
                    ": no column is left to fit on: each has one value only, gives the label away "
                    "or is excluded");
  MetadataModel m;
  m.encoder = fit_encoder(table, columns, name);
  m.regression = fit_logistic(m.encoder.encode(table, name), label);
  m.trained_on = digest(table);
  return m;
}

std::vector<double> HybridModel::logits(const std::vector<double>& image_logit,
                                        const CsvTable& table, const std::string& name) const {
  std::vector<double> sum = metadata.logits(table, name);
  if (sum.size() != image_logit.size())
    throw ShapeError(fmt::format("hybrid: {} image scores for {} rows of {}", image_logit.size(),
                                 sum.size(), name));
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += image_weight * image_logit[i];
  return sum;
}

int Cascade::decide(double prob) const {
  if (real_below && prob <= *real_below) return 0;
  if (fake_above && prob >= *fake_above) return 1;
  return -1;
}

TableModels read_table_models(const std::map<std::string, std::string>& notes,
                              const std::string& name_for_errors) {
  TableModels models;
  const auto where = [&](const char* entry) {
    return fmt::format("{}: metadata '{}'", name_for_errors, entry);
  };
  if (const auto found = notes.find(kHybridEntry); found != notes.end())
    models.hybrid = parse(found->second, where(kHybridEntry), hybrid_from);
  if (const auto found = notes.find(kCascadeEntry); found != notes.end())
    models.cascade = parse(found->second, where(kCascadeEntry), cascade_from);
  return models;
}

std::string to_note(const HybridModel& h) {
  return dump({{"image_weight", h.image_weight}, {"metadata", to_json(h.metadata)}}, -1);
}

std::string to_note(const Cascade& c) {
  const auto optional = [](const std::optional<double>& v) { return v ? json(*v) : json(nullptr); };
  return dump({{"real_below", optional(c.real_below)},
               {"fake_above", optional(c.fake_above)},
               {"max_error", c.max_error},
               {"confidence", c.confidence},
               {"metadata", to_json(c.metadata)}},
              -1);
}

void save_metadata_model(const std::filesystem::path& file, const MetadataModel& model) {
  const json metadata = to_json(model);
  write_text(
      file,
      dump({{"format", kFormat}, {"metadata", metadata}, {"digest", digest_of(metadata)}}, 2) +
          "\n");
}

MetadataModel load_metadata_model(const std::filesystem::path& given) {
  std::error_code unreadable;
  const bool is_folder = std::filesystem::is_directory(given, unreadable);
  const std::filesystem::path file = is_folder ? given / kMetadataFile : given;
  return parse(weights::read_text(file), file.string(), [](const json& j) {
    if (!j.is_object() || j.value("format", json()) != kFormat)
      throw ModelFileError(fmt::format("is no {} of metadata train: its format is not '{}'",
                                       kMetadataFile, kFormat));
    // Older versions wrote none.
    if (const auto digest = j.find("digest");
        digest != j.end() && *digest != digest_of(j.at("metadata")))
      throw ModelFileError(
          "damaged: its content is not what was written (digest); restore it from a copy, or drop "
          "the entry \"digest\" where the change is meant");
    return metadata_from(j.at("metadata"));
  });
}

}  // namespace dfengine
