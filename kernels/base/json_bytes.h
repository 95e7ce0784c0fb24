// Bytes that need not be UTF-8, such as file names, in JSON, whose strings must be.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dfengine {

// A string where the bytes are UTF-8, else {"hex": "..."}.
nlohmann::json bytes_to_json(const std::string& bytes);
// The bytes again; throws nlohmann::json::exception for other JSON.
std::string bytes_from_json(const nlohmann::json& json);

// For people: what is not UTF-8 becomes U+FFFD.
std::string readable(const std::string& bytes);

}  // namespace dfengine
