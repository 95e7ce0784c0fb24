// What the values of HDF5 attributes and data sets are, types and extents, and those of data sets.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "weights/hdf5/hdf5_bytes.h"
#include "weights/hdf5/hdf5_object.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {

struct Hdf5Type {
  enum class Kind { Ieee, BFloat16, OtherFloat, FixedText, VariableText, Other };
  Kind kind;
  std::size_t size;  // bytes of one value as stored
  bool big_endian;   // of Ieee
};

// The datatype message of section IV.A.2.d.
Hdf5Type read_datatype(Hdf5Cursor in);

// The extent of the values (section IV.A.2.b): empty for a single value, nothing for the null data
// space. Throws ModelFileError for more than 8 dimensions and for impossible ones.
std::optional<std::vector<std::int64_t>> read_dataspace(Hdf5Cursor in);

// The data set with that header as a tensor, named by the path that file.enter() was given; nothing
// for values that are not floats. Opaque ones of 2 bytes are bfloat16, as h5py stores it. The
// values may be stored in one piece, within the header, or in chunks under a B-tree of version 1,
// packed with gzip, shuffle or not at all. Throws ModelFileError for everything else.
std::optional<Tensor> read_dataset(Hdf5Bytes& file, const std::vector<Hdf5Message>& messages);

}  // namespace dfengine::weights
