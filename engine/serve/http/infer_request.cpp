#include "engine/serve/http/infer_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/serve/http/base64.h"
#include "weights/json_extent.h"

namespace dfengine::serve {
namespace {

using Json = nlohmann::json;

// Of the protocol's own objects, and beside the pictures; more would cost memory without meaning.
constexpr std::size_t kMostDepth = 6, kMostValues = 4096;

[[noreturn]] void refuse(const std::string& message) {
  throw Refusal{400, message};
}

Json parse(std::string_view text, const BodyLimits& limits) {
  const weights::JsonExtent extent = weights::json_extent(text);
  if (extent.depth > kMostDepth) refuse("the JSON is nested deeper than a request is");
  if (extent.values > kMostValues + limits.pictures)
    refuse("the JSON has more values than a request has");
  try {
    return Json::parse(text);
  } catch (const Json::exception&) {
    refuse("the body is no JSON");
  }
}

// Each element: its length in four bytes, the least first, and its bytes.
std::vector<Picture> split_binary(std::string_view bytes, std::size_t count) {
  std::vector<Picture> pictures;
  for (std::size_t i = 0; i < count; ++i) {
    if (bytes.size() < 4) refuse("the binary part is shorter than its tensor");
    std::size_t size = 0;
    for (std::size_t k = 0; k < 4; ++k)
      size |= static_cast<std::size_t>(static_cast<unsigned char>(bytes[k])) << 8 * k;
    bytes.remove_prefix(4);
    if (bytes.size() < size) refuse("the binary part is shorter than its tensor");
    pictures.push_back({.bytes = std::string(bytes.substr(0, size))});
    bytes.remove_prefix(size);
  }
  if (!bytes.empty()) refuse("the binary part is longer than its tensor");
  return pictures;
}

// Takes each text out of `input` once it is decoded.
std::vector<Picture> split_json(Json& input, std::size_t count) {
  const auto data = input.find("data");
  if (data == input.end() || !data->is_array() || data->size() != count)
    refuse(fmt::format("data: an array of {} strings, as the shape says", count));
  std::vector<Picture> pictures;
  for (Json& row : *data) {
    const Json& one = row.is_array() && row.size() == 1 ? row.front() : row;
    auto bytes = one.is_string() ? from_base64(one.get_ref<const std::string&>()) : std::nullopt;
    if (!bytes) refuse("data: each element is a picture's bytes as base64");
    pictures.push_back({.bytes = std::move(*bytes)});
    row = nullptr;
  }
  return pictures;
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// Those that are asked for, or all.
std::vector<std::string> outputs_of(const Json& request) {
  const Json asked = request.value("outputs", Json::array());
  if (!asked.is_array()) refuse("outputs: a list of objects, each with a name");
  const std::vector<std::string> all = {kProbFake, kVerdict, kIsUnsure};
  if (asked.empty()) return all;
  std::vector<std::string> outputs;
  for (const Json& one : asked) {
    outputs.push_back(one.is_object() ? text_of(one, "name") : "");
    if (std::ranges::find(all, outputs.back()) == all.end())
      refuse(
          fmt::format("outputs: there is no '{}', but {}", outputs.back(), fmt::join(all, ", ")));
  }
  return outputs;
}

// [n] or [n, 1].
std::size_t count_of(const Json& shape, const BodyLimits& limits) {
  std::size_t count = 1;
  if (!shape.is_array() || shape.empty() || shape.size() > 2) refuse("shape: [n] or [n, 1]");
  for (const Json& side : shape) {
    if (!side.is_number_unsigned()) refuse("shape: [n] or [n, 1]");
    const auto n = side.get<std::uint64_t>();
    if (n < 1) refuse("shape: at least one picture");
    if (n > limits.pictures)
      throw Refusal{413, fmt::format("more than {} pictures in a request", limits.pictures)};
    count *= static_cast<std::size_t>(n);
  }
  if (shape.size() == 2 && shape[1] != 1) refuse("shape: [n] or [n, 1]");
  return count;
}

}  // namespace

InferRequest parse_infer_request(std::string body, std::optional<std::size_t> json_bytes,
                                 const BodyLimits& limits) {
  const std::size_t length = json_bytes.value_or(body.size());
  if (length > body.size()) refuse("Inference-Header-Content-Length is longer than the body");
  Json json = parse(std::string_view(body).substr(0, length), limits);
  if (!json_bytes) body = std::string();
  const auto inputs = json.is_object() ? json.find("inputs") : json.end();
  if (inputs == json.end() || !inputs->is_array() || inputs->size() != 1 ||
      !inputs->front().is_object())
    refuse("inputs: one tensor of pictures");
  Json& input = inputs->front();
  if (text_of(input, "datatype") != "BYTES")
    refuse("datatype: BYTES, each element a picture's file");
  const std::size_t count = count_of(input.value("shape", Json()), limits);
  InferRequest request{.id = text_of(json, "id"), .outputs = outputs_of(json), .pictures = {}};
  request.pictures = json_bytes ? split_binary(std::string_view(body).substr(length), count)
                                : split_json(input, count);
  return request;
}

}  // namespace dfengine::serve
