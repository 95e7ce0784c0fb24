// Bounds, budget and little-endian fields.
#include "weights/hdf5/hdf5_bytes.h"

#include <fmt/format.h>

#include "kernels/base/error.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {
namespace {

// Each structure of a sound file is read once, but paths repeat the names of the groups around
// them.
constexpr std::uint64_t kWorkPerByte = 8;
constexpr std::uint64_t kMaxGrowth = 16;
constexpr std::uint64_t kAlwaysUnpacked = 1 << 20;

}  // namespace

Hdf5Bytes::Hdf5Bytes(std::span<const std::byte> file, const std::string& name_for_errors)
    : file_(file),
      name_(name_for_errors),
      budget_(kWorkPerByte * file.size()),
      unpacked_budget_(kAlwaysUnpacked + kMaxGrowth * file.size()) {}

void Hdf5Bytes::set_widths(unsigned of_address, unsigned of_length) {
  for (const unsigned width : {of_address, of_length}) {
    if (width != 4 && width != 8)
      refuse(fmt::format("addresses or lengths of {} bytes; 4 and 8 are read", width));
  }
  address_width_ = of_address;
  length_width_ = of_length;
}

void Hdf5Bytes::refuse(std::string_view cause) const {
  throw ModelFileError(fmt::format("{}: HDF5: \"/{}\": {}", name_, printable(path_), cause));
}

std::span<const std::byte> Hdf5Bytes::data(std::uint64_t address, std::uint64_t size,
                                           const char* what) const {
  if (address > file_.size() || size > file_.size() - address) {
    refuse(fmt::format("{} of {} bytes at byte {} is beyond the file's end at {}; damaged or cut",
                       what, size, address, file_.size()));
  }
  return file_.subspan(static_cast<std::size_t>(address), static_cast<std::size_t>(size));
}

std::span<const std::byte> Hdf5Bytes::stored(std::uint64_t address, std::uint64_t size,
                                             const char* what) {
  const auto bytes = data(address, size, what);
  if (size > file_.size() - stored_)
    refuse("its data overlap those of another data set; the file is damaged");
  stored_ += size;
  return bytes;
}

Hdf5Cursor Hdf5Bytes::open(std::uint64_t address, std::uint64_t size, const char* what) {
  const auto bytes = data(address, size, what);
  charge(size);
  return {*this, static_cast<std::size_t>(address), bytes, what};
}

void Hdf5Bytes::charge(std::uint64_t work) {
  if (work > budget_)
    refuse("leads the reader over the same bytes again and again; the file is damaged");
  budget_ -= work;
}

void Hdf5Bytes::charge_unpacked(std::uint64_t bytes) {
  if (bytes > unpacked_budget_)
    refuse(
        fmt::format("its packed data would grow to more than {} times the file's {} bytes; save "
                    "it without compression",
                    kMaxGrowth, file_.size()));
  unpacked_budget_ -= bytes;
}

std::uint64_t Hdf5Cursor::number(unsigned width) {
  const auto bytes = take(width);
  std::uint64_t value = 0;
  for (unsigned i = width; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return value;
}

std::uint64_t Hdf5Cursor::address_field() {
  const unsigned width = file_->address_width();
  const std::uint64_t address = number(width);
  return address == kUndefined >> (64 - 8 * width) ? kUndefined : address;
}

std::span<const std::byte> Hdf5Cursor::take(std::uint64_t size) {
  if (size > left()) refuse(fmt::format("ends {} bytes early", size - left()));
  const auto out = bytes_.subspan(at_, static_cast<std::size_t>(size));
  at_ += out.size();
  return out;
}

Hdf5Cursor Hdf5Cursor::part(std::uint64_t size, const char* what) {
  const std::size_t start = address();
  return {*file_, start, take(size), what};
}

void Hdf5Cursor::expect(std::string_view signature) {
  const auto found = take(signature.size());
  const std::string_view text(reinterpret_cast<const char*>(found.data()), found.size());
  if (text != signature)
    refuse(fmt::format("begins with \"{}\" instead of \"{}\"", printable(text), signature));
}

void Hdf5Cursor::refuse(std::string_view cause) const {
  file_->refuse(fmt::format("{} at byte {}: {}", what_, address(), cause));
}

std::string_view hdf5_text(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.substr(0, text.find('\0'));
}

}  // namespace dfengine::weights
