#include "kernels/base/json_bytes.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace dfengine {

using nlohmann::json;

std::string readable(const std::string& bytes) {
  return json::parse(json(bytes).dump(-1, ' ', false, json::error_handler_t::replace));
}

json bytes_to_json(const std::string& bytes) {
  if (readable(bytes) == bytes) return bytes;
  constexpr const char* kDigits = "0123456789abcdef";
  std::string hex;
  for (char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return {{"hex", hex}};
}

std::string bytes_from_json(const json& j) {
  if (!j.is_object()) return j.get<std::string>();
  const auto hex = j.at("hex").get<std::string>();
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned value = 0;
    std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    bytes += static_cast<char>(value);
  }
  return bytes;
}

}  // namespace dfengine
