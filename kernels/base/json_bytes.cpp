#include "kernels/base/json_bytes.h"

#include <fmt/ranges.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <vector>

namespace dfengine {

using nlohmann::json;

std::string readable(const std::string& bytes) {
  return json::parse(json(bytes).dump(-1, ' ', false, json::error_handler_t::replace));
}

json bytes_to_json(const std::string& bytes) {
  if (readable(bytes) == bytes) return bytes;
  const std::vector<unsigned char> codes(bytes.begin(), bytes.end());
  return {{"hex", fmt::format("{:02x}", fmt::join(codes, ""))}};
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
