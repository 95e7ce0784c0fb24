// Bytes that need not be UTF-8, such as file names, as JSON, whose strings must be UTF-8.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dfengine {

// Gives a string where the bytes are UTF-8, else {"hex": "..."}.
nlohmann::json bytes_to_json(const std::string& bytes);
// Gives the bytes again. Throws nlohmann::json::exception for other JSON.
std::string bytes_from_json(const nlohmann::json& json);

// Gives text for people: what is not UTF-8 becomes U+FFFD.
std::string readable(const std::string& bytes);

}  // namespace dfengine
