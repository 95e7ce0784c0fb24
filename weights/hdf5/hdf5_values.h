// What the values of HDF5 attributes and data sets are: types and extents.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "weights/hdf5/hdf5_bytes.h"

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

}  // namespace dfengine::weights
