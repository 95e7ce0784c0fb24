// How bytes that may not be UTF-8, such as file names, are kept in JSON, whose strings must be
// UTF-8.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dfengine {

// A string where the bytes are UTF-8, otherwise {"hex": "..."}.
nlohmann::json bytes_to_json(const std::string& bytes);
// The bytes again. Throws nlohmann::json::exception for other JSON.
std::string bytes_from_json(const nlohmann::json& json);

// For people: what is not UTF-8 becomes U+FFFD.
std::string readable(const std::string& bytes);

}  // namespace dfengine
