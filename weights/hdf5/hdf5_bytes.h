// The bytes of an HDF5 file behind bounds checks: the only way its reader touches them.
// Format: HDF5 File Format Specification 3.0 (The HDF Group), sections named where used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dfengine::weights {

class Hdf5Cursor;

// A whole file, its widths of addresses and lengths, and a budget. Reading a structure costs its
// size. In a sound file each structure is read once, so a file that sends the reader round in
// circles or over the same bytes again runs out of budget.
class Hdf5Bytes {
 public:
  // Reads nothing yet. Both arguments must outlive this.
  Hdf5Bytes(std::span<const std::byte> file, const std::string& name_for_errors);

  std::size_t size() const { return file_.size(); }
  // Bytes of an address and of a length, from the superblock: 4 or 8.
  void set_widths(unsigned of_address, unsigned of_length);
  unsigned address_width() const { return address_width_; }
  unsigned length_width() const { return length_width_; }

  // From now on errors name the object at that path.
  void enter(std::string path) { path_ = std::move(path); }
  const std::string& path() const { return path_; }
  // Throws ModelFileError with the file, the object and the cause.
  [[noreturn]] void refuse(std::string_view cause) const;

  // A cursor over `size` bytes at `address`, at the cost of as many bytes of the budget. Refuses
  // what is outside the file. `what` names the structure in errors.
  Hdf5Cursor open(std::uint64_t address, std::uint64_t size, const char* what);
  // The same without cost, for data that are counted elsewhere.
  std::span<const std::byte> data(std::uint64_t address, std::uint64_t size,
                                  const char* what) const;
  // Bytes of a data set. All that are asked for together are at most as many as the file has.
  std::span<const std::byte> stored(std::uint64_t address, std::uint64_t size, const char* what);
  // Takes `work` bytes from the budget; refuses when it is used up.
  void charge(std::uint64_t work);
  // The same for bytes that come of packed data, which may be 16 times as many as the file has, and
  // a little more, as in zip_archive.cpp: float weights hardly shrink.
  void charge_unpacked(std::uint64_t bytes);

 private:
  std::span<const std::byte> file_;
  const std::string& name_;
  std::string path_;
  unsigned address_width_ = 8;
  unsigned length_width_ = 8;
  std::uint64_t budget_, unpacked_budget_;
  std::uint64_t stored_ = 0;
};

// Reads little-endian fields one after the other from a part of the file and never beyond it.
class Hdf5Cursor {
 public:
  Hdf5Cursor(const Hdf5Bytes& file, std::size_t address, std::span<const std::byte> bytes,
             const char* what)
      : file_(&file), address_(address), bytes_(bytes), what_(what) {}

  std::size_t left() const { return bytes_.size() - at_; }
  // Place of the next byte in the file.
  std::size_t address() const { return address_ + at_; }

  // An unsigned number of 1 to 8 bytes.
  std::uint64_t number(unsigned width);
  unsigned u8() { return static_cast<unsigned>(number(1)); }
  unsigned u16() { return static_cast<unsigned>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t length() { return number(file_->length_width()); }
  // kUndefined for the format's undefined address, which is all ones.
  std::uint64_t address_field();
  static constexpr std::uint64_t kUndefined = ~std::uint64_t{0};

  std::span<const std::byte> take(std::uint64_t size);
  void skip(std::uint64_t size) { take(size); }
  // The next `size` bytes as a cursor of their own.
  Hdf5Cursor part(std::uint64_t size, const char* what);
  // Throws unless the next bytes are the signature.
  void expect(std::string_view signature);
  // Throws ModelFileError with the file, the object, the structure, the byte and the cause.
  [[noreturn]] void refuse(std::string_view cause) const;

 private:
  const Hdf5Bytes* file_;
  std::size_t address_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  const char* what_;
};

// The text up to the first NUL, or all of it.
std::string_view hdf5_text(std::span<const std::byte> bytes);

}  // namespace dfengine::weights
