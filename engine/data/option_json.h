// A table of options to JSON and back.
#pragma once

#include <concepts>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/data/option_row.h"
#include "kernels/base/enum_names.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/json_integer.h"

namespace dfengine {

// What need not be UTF-8.
template <class T>
concept Bytes = std::is_same_v<T, std::filesystem::path> || std::is_same_v<T, std::string>;

// Enums are written as their names, "" for one that was not chosen; paths and text byte for byte.
template <class T>
nlohmann::json option_to_json(const T& value) {
  if constexpr (NamedEnum<T>)
    return name_of(value);
  else if constexpr (Bytes<T>)
    return bytes_to_json(std::filesystem::path(value).string());
  else
    return value;
}
inline nlohmann::json option_to_json(const std::vector<std::string>& values) {
  nlohmann::json all = nlohmann::json::array();
  for (const std::string& value : values) all.push_back(bytes_to_json(value));
  return all;
}
template <NamedEnum T>
nlohmann::json option_to_json(const std::optional<T>& value) {
  return value ? name_of(*value) : "";
}

template <class T>
void option_from_json(const nlohmann::json& json, T& value) {
  if constexpr (NamedEnum<T>)
    value = parse_name<T>(json.get<std::string>());
  else if constexpr (Bytes<T>)
    value = bytes_from_json(json);
  else if constexpr (std::integral<T> && !std::is_same_v<T, bool>)
    value = integer_from_json<T>(json);
  else
    json.get_to(value);
}
inline void option_from_json(const nlohmann::json& json, std::vector<std::string>& values) {
  if (!json.is_array()) throw UsageError("a list of texts is something else");
  values.clear();
  for (const nlohmann::json& value : json) values.push_back(bytes_from_json(value));
}
template <NamedEnum T>
void option_from_json(const nlohmann::json& json, std::optional<T>& value) {
  const auto name = json.get<std::string>();
  if (!name.empty()) value = parse_name<T>(name);
}

// complete: also what was added later and is not set, which older versions do not know.
template <class Rows, class Options>
void write_options(const Rows& rows, const Options& options, nlohmann::json& json,
                   bool complete = false) {
  for (const auto& row : rows)
    std::visit(
        [&](auto place) {
          if (complete || !row.added_later || options.*place != Options().*place)
            json[row.key] = option_to_json(options.*place);
        },
        row.place);
}

// Throws nlohmann::json::exception for a key that is absent or a value of another type, UsageError
// for a name that is unknown and an integer that is out of range.
template <class Rows, class Options>
void read_options(const Rows& rows, const nlohmann::json& json, Options& options) {
  for (const auto& row : rows)
    if (!row.added_later || json.contains(row.key))
      std::visit([&](auto place) { option_from_json(json.at(row.key), options.*place); },
                 row.place);
}

}  // namespace dfengine
