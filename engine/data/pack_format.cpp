#include "engine/data/pack_format.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/base/checksum.h"
#include "kernels/base/error.h"
#include "kernels/base/json_integer.h"
#include "kernels/base/numbers.h"

namespace dfengine {
namespace {

// Takes text up to the next NUL away from `rest`.
std::string_view take(std::string_view& rest, const std::string& file) {
  const std::size_t end = rest.find('\0');
  if (end == std::string_view::npos) throw DataError(file + ": its index is cut short");
  const std::string_view text = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return text;
}

Index take_number(std::string_view& rest, const std::string& file) {
  const auto value = number_of<Index>(take(rest, file));
  // Each record takes two bytes of the index at least: no claim can be larger than that.
  if (!value || *value < 0 || static_cast<std::size_t>(*value) > rest.size() / 2)
    throw DataError(file + ": its index counts wrongly");
  return *value;
}

}  // namespace

std::uint64_t record_checksum(std::span<const std::byte> pixels, std::uint64_t state) {
  return checksum(pixels) + (state - kPackPixels);
}

Index PackIndex::records() const {
  Index n = 0;
  for (const Dataset& split : splits) n += std::ssize(split.samples);
  return n;
}

std::string write_index(const PackIndex& index) {
  const nlohmann::json about = {{"size", index.how.size},
                                {"crop", name_of(index.how.crop)},
                                {"resize", name_of(index.how.resize)},
                                {"max_pixels", index.how.max_pixels},
                                {"digest", index.digest},
                                {"splits", index.splits.size()}};
  std::string text = about.dump() + '\0';
  for (const Dataset& split : index.splits) {
    text += split.split + '\0' + std::to_string(split.samples.size()) + '\0';
    for (const Sample& s : split.samples) {
      text += s.label == 1 ? '1' : '0';
      text += s.relative + '\0';
    }
  }
  return text;
}

PackIndex read_index(std::string_view text, const std::string& file) try {
  const auto about = nlohmann::json::parse(take(text, file));
  PackIndex index;
  index.how.size = integer_from_json<Index>(about.at("size"));
  index.how.crop = parse_name<Crop>(about.at("crop").get<std::string>());
  index.how.resize = parse_name<ResizeRule>(about.at("resize").get<std::string>());
  index.how.max_pixels = integer_from_json<Index>(about.at("max_pixels"));
  about.at("digest").get_to(index.digest);
  constexpr Index kMostSide = 4096;
  if (index.how.size < 1 || index.how.size > kMostSide) {
    throw DataError(fmt::format("{}: pictures of side {}", file, index.how.size));
  }
  Index record = 0;
  for (auto left = integer_from_json<std::size_t>(about.at("splits")); left > 0; --left) {
    Dataset split;
    split.root = file;
    split.split = take(text, file);
    for (Index n = take_number(text, file); n > 0; --n) {
      const std::string_view entry = take(text, file);
      if (entry.size() < 2 || (entry[0] != '0' && entry[0] != '1')) {
        throw DataError(fmt::format("{}: record {} has no label and name", file, record));
      }
      split.samples.push_back({std::string(entry.substr(1)), entry[0] - '0', record++});
    }
    index.splits.push_back(std::move(split));
  }
  return index;
} catch (const nlohmann::json::exception& e) {
  throw DataError(fmt::format("{}: its index is damaged ({})", file, json_fault(e)));
} catch (const UsageError& e) {
  throw DataError(fmt::format("{}: its index is damaged ({})", file, e.what()));
}

}  // namespace dfengine
