// JSON that anybody may have written: its integers, and what is wrong with it.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "kernels/base/error.h"

namespace dfengine {

// The library's own get<T>() casts any number, which is undefined for those that T cannot hold.
// Throws nlohmann::json::exception for what is no integer, UsageError for one that T cannot hold.
template <std::integral T>
T integer_from_json(const nlohmann::json& json) {
  const auto narrow = [&](auto value) {
    if (!std::in_range<T>(value))
      throw UsageError("the number " + json.dump() + " is out of range");
    return static_cast<T>(value);
  };
  using Json = nlohmann::json;
  if (json.is_number_unsigned()) return narrow(json.get_ref<const Json::number_unsigned_t&>());
  return narrow(json.get_ref<const Json::number_integer_t&>());
}

// For people: the exception's message without its name, "[json.exception.out_of_range.403] ".
inline std::string json_fault(const nlohmann::json::exception& e) {
  const std::string text = e.what();
  const std::size_t end = text.starts_with('[') ? text.find("] ") : text.npos;
  return end == text.npos ? text : text.substr(end + 2);
}

}  // namespace dfengine
