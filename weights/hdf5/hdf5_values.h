// What the values of HDF5 attributes and data sets are (types and extents), and the texts of
// attributes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "weights/hdf5/hdf5_bytes.h"
#include "weights/hdf5/hdf5_object.h"

namespace dfengine::weights {

struct Hdf5Type {
  enum class Kind { Ieee, OtherFloat, FixedText, VariableText, Other };
  Kind kind;
  std::size_t size;  // bytes of one value as stored
  bool big_endian;   // of Ieee
};

// The datatype message of section IV.A.2.d.
Hdf5Type read_datatype(Hdf5Cursor in);

// The extent of the values (section IV.A.2.b): empty for a single value, nothing for the null data
// space. Throws ModelFileError for more than 8 dimensions and for impossible ones.
std::optional<std::vector<std::int64_t>> read_dataspace(Hdf5Cursor in);

// Reads the texts of attributes (section IV.A.2.m). Those of variable length are objects in global
// heaps (section III.E), each of which is read once.
class Hdf5Attributes {
 public:
  explicit Hdf5Attributes(Hdf5Bytes& file) : file_(file) {}
  static std::string name(const Hdf5Message& message);
  // The texts of an attribute, joined by line feeds; a text ends at its first NUL. Nothing for
  // attributes that are not text.
  std::optional<std::string> texts(const Hdf5Message& message);

 private:
  using Collection = std::map<std::uint32_t, std::span<const std::byte>>;
  std::string_view variable_text(Hdf5Cursor& values, const std::string& name);
  std::span<const std::byte> object(std::uint64_t collection, std::uint32_t number);
  Collection read_collection(std::uint64_t address);

  Hdf5Bytes& file_;
  std::map<std::uint64_t, Collection> collections_;
};

}  // namespace dfengine::weights
