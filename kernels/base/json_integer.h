// Integers of JSON that anybody may have written. The library's own get<T>() casts any number,
// which is undefined for those that T cannot hold.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/base/error.h"

namespace dfengine {

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

}  // namespace dfengine
