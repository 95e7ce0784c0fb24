// The encoder's round trip through JSON.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/tables/metadata/encoder.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

// How many standardised features a type has.
std::size_t parts(ColumnType type) {
  switch (type) {
    case ColumnType::Numeric:
      return 1;
    case ColumnType::Timestamp:
      return 7;
    case ColumnType::Text:
      return 2;
    default:
      return 0;
  }
}

void check(const ColumnEncoding& c) {
  const auto finite = [](double v) { return std::isfinite(v); };
  const bool sizes = c.mean.size() == parts(c.type) && c.std_dev.size() == c.mean.size();
  const bool values = std::ranges::all_of(c.mean, finite) &&
                      std::ranges::all_of(c.std_dev, [](double v) { return v > 0; });
  const bool words = c.type == ColumnType::Categorical || c.type == ColumnType::Text;
  const bool levels = c.levels.size() <= kMaxLevels && (words || c.levels.empty()) &&
                      (!c.rare || c.type == ColumnType::Categorical);
  if (!sizes || !values || !levels)
    throw ModelFileError(fmt::format("metadata: column '{}' is no {} column as dfengine writes it",
                                     c.name, name_of(c.type)));
}

}  // namespace

nlohmann::json to_json(const Encoder& encoder) {
  nlohmann::json columns = nlohmann::json::array();
  for (const ColumnEncoding& c : encoder.columns)
    columns.push_back({{"name", c.name},
                       {"type", name_of(c.type)},
                       {"mean", c.mean},
                       {"std", c.std_dev},
                       {"levels", c.levels},
                       {"rare", c.rare},
                       {"missing", c.missing}});
  return columns;
}

Encoder encoder_from_json(const nlohmann::json& json) {
  try {
    if (!json.is_array()) throw ModelFileError("metadata: the columns are not a list");
    Encoder encoder;
    for (const nlohmann::json& j : json) {
      ColumnEncoding c;
      j.at("name").get_to(c.name);
      c.type = parse_name<ColumnType, ModelFileError>(j.at("type").get<std::string>());
      j.at("mean").get_to(c.mean);
      j.at("std").get_to(c.std_dev);
      j.at("levels").get_to(c.levels);
      j.at("rare").get_to(c.rare);
      j.at("missing").get_to(c.missing);
      check(c);
      encoder.columns.push_back(std::move(c));
    }
    return encoder;
  } catch (const nlohmann::json::exception& e) {
    throw ModelFileError(std::string("metadata: ") + e.what());
  }
}

}  // namespace dfengine
