// The header is read event by event, so that depth and memory stay within what the format allows,
// and a doubled key is seen.
#include "weights/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "weights/content_digest.h"
#include "weights/families/source.h"

namespace dfengine::weights {
namespace {

using Json = nlohmann::json;

// The bytes before the header hold its length.
constexpr std::size_t kHeaderStart = 8;
// The format's own limit, in bytes.
constexpr std::uint64_t kMaxHeaderSize = 100'000'000;
// The format sets no limit; NumPy and PyTorch stop here too.
constexpr std::size_t kMaxRank = 64;
// As in PyTorch's files.
constexpr std::size_t kMaxTensors = 65'536;
// The one top-level name that is not a tensor.
constexpr std::string_view kMetadataKey = "__metadata__";

// The format's types that no DType is.
constexpr std::pair<std::string_view, std::size_t> kOtherTypes[] = {
    {"U16", 2}, {"U32", 4}, {"U64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"C64", 8}};

// What the header says of one tensor. Offsets count from the end of the header and are not checked
// against the file yet.
struct HeaderEntry {
  std::string name;
  std::string type;            // as the format calls it
  std::size_t each = 0;        // bytes of an element
  std::optional<DType> dtype;  // none: of another type
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct Header {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

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
      if (!fields_.insert(key).second) refuse(fmt::format("field \"{}\" appears twice", key));
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
      fields_.clear();
    } else {
      refuse("an object where none belongs");
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::Entry) {
      for (const char* field : {"dtype", "shape", "data_offsets"})
        if (!fields_.contains(field)) refuse(fmt::format("field \"{}\" is missing", field));
      if (header_.entries.size() == kMaxTensors)
        refuse(fmt::format("comes after {} tensors, the most that are read", kMaxTensors));
      header_.entries.push_back(std::move(entry_));
    }
    place_ = Place::Top;
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ == Place::Entry && key_ == "shape") {
      place_ = Place::Shape;
    } else if (place_ == Place::Entry && key_ == "data_offsets") {
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
      take_type(value);
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

  void take_type(const std::string& name) {
    const auto other = std::ranges::find(kOtherTypes, std::string_view(name),
                                         [](const auto& row) { return row.first; });
    entry_.dtype = dtype_from_name(name);
    if (!entry_.dtype && other == std::end(kOtherTypes))
      refuse(fmt::format("element type \"{}\" is not supported", printable(name)));
    entry_.each = entry_.dtype ? dtype_size(*entry_.dtype) : other->second;
    entry_.type = name;
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
  std::set<std::string> fields_;  // of the entry
  bool metadata_seen_ = false;
};

std::string json_string(std::string_view text) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    throw ModelFileError(
        fmt::format("safetensors: name or metadata \"{}\" is not UTF-8", printable(text)));
  }
}

// Doubled tensor names are left to the caller; every other doubled key is refused here.
Header parse_header(std::string_view json, const std::string& file) {
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

// Without padding.
std::string format_header(const Header& header) {
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
                        json_string(entry.name), entry.type, fmt::join(entry.shape, ","),
                        entry.begin, entry.end);
  }
  return json + "}";
}

[[noreturn]] void refuse(const std::string& file, std::string_view tensor,
                         const std::string& cause) {
  throw ModelFileError(
      fmt::format("{}: safetensors: tensor \"{}\": {}", file, printable(tensor), cause));
}

// The header's JSON text, after checking its length against the file.
std::string_view header_text(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kHeaderStart) {
    throw ModelFileError(fmt::format(
        "{}: safetensors: {} bytes are too few, the header length takes 8", name, file.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > kMaxHeaderSize) {
    throw ModelFileError(
        fmt::format("{}: safetensors: header length {} at byte 0 is over the format's limit of {}",
                    name, length, kMaxHeaderSize));
  }
  if (length > file.size() - kHeaderStart) {
    throw ModelFileError(
        fmt::format("{}: safetensors: header of {} bytes ends behind the end of the file ({} "
                    "bytes); the file is damaged or cut",
                    name, length, file.size()));
  }
  return {reinterpret_cast<const char*>(file.data()) + kHeaderStart,
          static_cast<std::size_t>(length)};
}

// Offsets must lie in the data and leave as many bytes as shape and type need.
void check_entry(const HeaderEntry& entry, std::size_t data_size, const std::string& file) {
  if (entry.begin > entry.end) {
    refuse(file, entry.name, fmt::format("begins at {} but ends at {}", entry.begin, entry.end));
  }
  if (entry.end > data_size) {
    refuse(file, entry.name,
           fmt::format("ends at byte {} of the data, which has {}; the file is damaged or cut",
                       entry.end, data_size));
  }
  const std::uint64_t size = entry.end - entry.begin;
  const auto count = checked_count(entry.shape);
  if (!count || size % entry.each != 0 || size / entry.each != static_cast<std::uint64_t>(*count)) {
    refuse(
        file, entry.name,
        fmt::format("{} bytes do not fit {} [{}]", size, entry.type, fmt::join(entry.shape, ", ")));
  }
}

// The tensors must cover the data without overlap or hole.
void check_coverage(const std::vector<HeaderEntry>& entries, std::size_t data_size,
                    const std::string& file) {
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {},
                    [&](std::size_t i) { return std::tuple(entries[i].begin, entries[i].end); });
  std::uint64_t covered = 0;
  for (const std::size_t i : order) {
    const HeaderEntry& entry = entries[i];
    if (entry.begin != covered) {
      refuse(file, entry.name,
             fmt::format("begins at byte {} of the data, where byte {} is due: {}", entry.begin,
                         covered, entry.begin < covered ? "tensors overlap" : "there is a hole"));
    }
    covered = entry.end;
  }
  if (covered != data_size) {
    throw ModelFileError(
        fmt::format("{}: safetensors: {} bytes after the last tensor, at byte {} of the data", file,
                    data_size - covered, covered));
  }
}

// The header entry for a tensor whose data begins at `begin`.
HeaderEntry entry_for(const Tensor& tensor, std::uint64_t begin) {
  const std::string file = "writing";
  if (tensor.name == kMetadataKey) refuse(file, tensor.name, "this name is reserved");
  if (tensor.shape.size() > kMaxRank) {
    refuse(file, tensor.name, fmt::format("more than {} dimensions", kMaxRank));
  }
  HeaderEntry entry{
      tensor.name, dtype_name(tensor.dtype),   dtype_size(tensor.dtype), tensor.dtype, tensor.shape,
      begin,       begin + tensor.bytes.size()};
  check_entry(entry, entry.end, file);
  return entry;
}

}  // namespace

TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name_for_errors) {
  const std::string_view json = header_text(file, name_for_errors);
  const auto data = file.subspan(kHeaderStart + json.size());
  Header header = parse_header(json, name_for_errors);
  for (const HeaderEntry& entry : header.entries) check_entry(entry, data.size(), name_for_errors);
  if (const auto twice = repeated(header.entries, &HeaderEntry::name))
    refuse(name_for_errors, *twice, "appears twice");
  check_coverage(header.entries, data.size(), name_for_errors);

  TensorFile out;
  out.metadata = std::move(header.metadata);
  out.tensors.reserve(header.entries.size());
  std::string others;
  for (HeaderEntry& entry : header.entries) {
    if (!entry.dtype) {
      others += fmt::format("{}{} ({})", others.empty() ? "" : ", ", entry.name, entry.type);
      continue;
    }
    const auto bytes = data.subspan(entry.begin, entry.end - entry.begin);
    out.tensors.push_back({std::move(entry.name), *entry.dtype, std::move(entry.shape),
                           std::vector<std::byte>(bytes.begin(), bytes.end())});
  }
  check_digest(out, name_for_errors);
  if (!others.empty()) out.metadata[kLeftOut] += "tensors of types not read: " + others + "\n";
  return out;
}

std::vector<std::byte> serialize_safetensors(const TensorFile& file,
                                             std::map<std::string, std::string> metadata) {
  Header header;
  header.metadata = std::move(metadata);
  std::uint64_t data_size = 0;
  for (const Tensor& tensor : file.tensors) {
    header.entries.push_back(entry_for(tensor, data_size));
    data_size = header.entries.back().end;
  }
  if (const auto twice = repeated(header.entries, &HeaderEntry::name))
    refuse("writing", *twice, "appears twice");

  std::string json = format_header(header);
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > kMaxHeaderSize) {
    throw ModelFileError(fmt::format("writing safetensors: header of {} bytes is over the limit {}",
                                     json.size(), kMaxHeaderSize));
  }
  const std::uint64_t length = json.size();
  std::vector<std::byte> out(sizeof(length) + json.size() + data_size);
  std::memcpy(out.data(), &length, sizeof(length));
  std::memcpy(out.data() + sizeof(length), json.data(), json.size());
  auto at = out.begin() + static_cast<std::ptrdiff_t>(sizeof(length) + json.size());
  for (const Tensor& tensor : file.tensors) at = std::ranges::copy(tensor.bytes, at).out;
  return out;
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  std::map<std::string, std::string> metadata = file.metadata;
  metadata[kDigestEntry] = content_digest(file);
  write_file_atomic(path, serialize_safetensors(file, std::move(metadata)));
}

}  // namespace dfengine::weights
