// Reader and writer of safetensors, which know the layout of the data behind the header.
#include "weights/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <tuple>
#include <utility>

#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "weights/read_file.h"
#include "weights/safetensors_header.h"

namespace dfengine::weights {
namespace {

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
  const std::uint64_t each = dtype_size(entry.dtype);
  const auto count = checked_count(entry.shape);
  if (!count || size % each != 0 || size / each != static_cast<std::uint64_t>(*count)) {
    refuse(file, entry.name,
           fmt::format("{} bytes do not fit {} [{}]", size, dtype_name(entry.dtype),
                       fmt::join(entry.shape, ", ")));
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
  HeaderEntry entry{tensor.name, tensor.dtype, tensor.shape, begin, begin + tensor.bytes.size()};
  check_entry(entry, entry.end, file);
  return entry;
}

}  // namespace

TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name_for_errors) {
  const std::string_view json = header_text(file, name_for_errors);
  const auto data = file.subspan(kHeaderStart + json.size());
  Header header = parse_safetensors_header(json, name_for_errors);
  for (const HeaderEntry& entry : header.entries) check_entry(entry, data.size(), name_for_errors);
  if (const auto twice = repeated(header.entries, &HeaderEntry::name))
    refuse(name_for_errors, *twice, "appears twice");
  check_coverage(header.entries, data.size(), name_for_errors);

  TensorFile out;
  out.metadata = std::move(header.metadata);
  out.tensors.reserve(header.entries.size());
  for (HeaderEntry& entry : header.entries) {
    const auto bytes = data.subspan(entry.begin, entry.end - entry.begin);
    out.tensors.push_back({std::move(entry.name), entry.dtype, std::move(entry.shape),
                           std::vector<std::byte>(bytes.begin(), bytes.end())});
  }
  return out;
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

std::vector<std::byte> serialize_safetensors(const TensorFile& file) {
  Header header;
  header.metadata = file.metadata;
  std::uint64_t data_size = 0;
  for (const Tensor& tensor : file.tensors) {
    header.entries.push_back(entry_for(tensor, data_size));
    data_size = header.entries.back().end;
  }
  if (const auto twice = repeated(header.entries, &HeaderEntry::name))
    refuse("writing", *twice, "appears twice");

  std::string json = format_safetensors_header(header);
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
  write_file_atomic(path, serialize_safetensors(file));
}

}  // namespace dfengine::weights
