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

// Texts of variable length are objects in global heaps (section III.E). Each heap is read once.
class Hdf5Heaps {
 public:
  explicit Hdf5Heaps(Hdf5Bytes& file) : file_(file) {}
  // The object with that number in the collection at that address.
  std::span<const std::byte> object(std::uint64_t collection, std::uint32_t number);

 private:
  using Collection = std::map<std::uint32_t, std::span<const std::byte>>;
  Collection read_collection(std::uint64_t address);

  Hdf5Bytes& file_;
  std::map<std::uint64_t, Collection> collections_;
};

struct Hdf5Attribute {
  std::string name;
  Hdf5Type type;
  std::size_t count;
  Hdf5Cursor values;
};

// The name alone, and the whole attribute message of section IV.A.2.m.
std::string attribute_name(const Hdf5Message& message);
Hdf5Attribute read_attribute(const Hdf5Message& message);

// The texts of an attribute, joined by line feeds; a text ends at its first NUL. Nothing for
// attributes that are not text.
std::optional<std::string> read_texts(Hdf5Bytes& file, Hdf5Heaps& heaps, Hdf5Attribute attribute);

}  // namespace dfengine::weights
