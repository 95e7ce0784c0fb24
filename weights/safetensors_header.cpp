// The JSON header of a safetensors file is read event by event, so that depth and memory stay
// within what the format allows, and a doubled key is seen.
#include "weights/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/base/error.h"

namespace dfengine::weights {
namespace {

using Json = nlohmann::json;

// Receives nlohmann's parse events. Each throws ModelFileError where the format does not allow the
// event, so the parser never goes deeper than entry -> shape.
class HeaderEvents {
 public:
  HeaderEvents(Header& header, const std::string& file) : header_(header), file_(file) {}

  bool key(std::string& key) {
    if (place_ == Place::Entry) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        refuse(fmt::format("unknown field \"{}\"", printable(key)));
      }
    } else if (place_ == Place::Top && key == kMetadataKey && std::exchange(metadata_seen_, true)) {
      refuse("appears twice", key);
    }
    key_ = std::move(key);
    return true;
  }

  bool start_object(std::size_t) {
    if (place_ == Place::Start) {
      place_ = Place::Top;
    } else if (place_ == Place::Top && key_ == kMetadataKey) {
      place_ = Place::Metadata;
    } else if (place_ == Place::Top) {
      place_ = Place::Entry;
      entry_ = {};
      entry_.name = key_;
      dtype_seen_ = shape_seen_ = offsets_seen_ = false;
    } else {
      refuse("an object where none belongs");
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::Entry) {
      if (!dtype_seen_) refuse("field \"dtype\" is missing");
      if (!shape_seen_) refuse("field \"shape\" is missing");
      if (!offsets_seen_) refuse("field \"data_offsets\" is missing");
      header_.entries.push_back(std::move(entry_));
    }
    place_ = Place::Top;
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ == Place::Entry && key_ == "shape") {
      once(shape_seen_);
      place_ = Place::Shape;
    } else if (place_ == Place::Entry && key_ == "data_offsets") {
      once(offsets_seen_);
      place_ = Place::Offsets;
      offset_count_ = 0;
    } else {
      refuse("an array where none belongs");
    }
    return true;
  }

  bool end_array() {
    if (place_ == Place::Offsets && offset_count_ != 2) {
      refuse(fmt::format("data_offsets has {} numbers, not 2", offset_count_));
    }
    place_ = Place::Entry;
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::Metadata) {
      if (!header_.metadata.emplace(key_, std::move(value)).second) {
        refuse("appears twice in the metadata", key_);
      }
    } else if (place_ == Place::Entry && key_ == "dtype") {
      once(dtype_seen_);
      const auto dtype = dtype_from_name(value);
      if (!dtype) refuse(fmt::format("element type \"{}\" is not supported", printable(value)));
      entry_.dtype = *dtype;
    } else {
      refuse("a string where none belongs");
    }
    return true;
  }

  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::Shape) {
      if (entry_.shape.size() == kMaxRank) {
        refuse(fmt::format("more than {} dimensions", kMaxRank));
      }
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        refuse(fmt::format("dimension {} is too large", value));
      }
      entry_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (place_ == Place::Offsets && offset_count_ < 2) {
      (offset_count_ == 0 ? entry_.begin : entry_.end) = value;
      ++offset_count_;
    } else {
      refuse("a number where none belongs");
    }
    return true;
  }

  bool number_integer(std::int64_t value) { return refuse(fmt::format("number {}", value)); }
  bool number_float(double, const std::string& text) {
    return refuse(fmt::format("number {} is not a size", printable(text)));
  }
  bool null() { return refuse("null where none belongs"); }
  bool boolean(bool) { return refuse("true or false where none belongs"); }
  bool binary(Json::binary_t&) { return refuse("binary data where none belongs"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    throw ModelFileError(
        fmt::format("{}: safetensors header: not valid JSON in UTF-8 at byte {}; the file is "
                    "damaged or cut",
                    file_, kHeaderStart + (position == 0 ? 0 : position - 1)));
  }

 private:
  enum class Place { Start, Top, Metadata, Entry, Shape, Offsets };

  void once(bool& seen) {
    if (std::exchange(seen, true)) refuse(fmt::format("field \"{}\" appears twice", key_));
  }

  // Returns bool only so that an event can be one line.
  [[noreturn]] bool refuse(const std::string& cause) const {
    const bool in_entry = place_ != Place::Top && place_ != Place::Metadata;
    refuse(cause, in_entry ? entry_.name : key_);
  }

  [[noreturn]] bool refuse(const std::string& cause, std::string_view where) const {
    throw ModelFileError(
        fmt::format("{}: safetensors header: \"{}\": {}", file_, printable(where), cause));
  }

  Header& header_;
  const std::string& file_;
  Place place_ = Place::Start;
  std::string key_;
  HeaderEntry entry_;
  std::size_t offset_count_ = 0;
  bool metadata_seen_ = false, dtype_seen_ = false, shape_seen_ = false, offsets_seen_ = false;
};

std::string json_string(std::string_view text) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    throw ModelFileError(
        fmt::format("safetensors: name or metadata \"{}\" is not UTF-8", printable(text)));
  }
}

}  // namespace

Header parse_safetensors_header(std::string_view json, const std::string& file) {
  // nlohmann takes a NUL for the end of the text and would skip a byte order mark.
  if (json.empty() || json.front() != '{') {
    throw ModelFileError(
        fmt::format("{}: safetensors header: must begin with '{{' at byte {}", file, kHeaderStart));
  }
  if (const auto nul = json.find('\0'); nul != std::string_view::npos) {
    throw ModelFileError(
        fmt::format("{}: safetensors header: zero byte at byte {}", file, kHeaderStart + nul));
  }
  Header header;
  HeaderEvents events(header, file);
  Json::sax_parse(json, &events);
  return header;
}

std::string format_safetensors_header(const Header& header) {
  std::string json = "{";
  if (!header.metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : header.metadata)
      pairs.push_back(json_string(key) + ":" + json_string(value));
    json += fmt::format("{}:{{{}}}", json_string(kMetadataKey), fmt::join(pairs, ","));
  }
  for (const HeaderEntry& entry : header.entries) {
    if (json.size() > 1) json += ",";
    json += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        json_string(entry.name), dtype_name(entry.dtype),
                        fmt::join(entry.shape, ","), entry.begin, entry.end);
  }
  return json + "}";
}

}  // namespace dfengine::weights
