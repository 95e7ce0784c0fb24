// The values of HDF5 data sets.
#pragma once

#include <optional>
#include <vector>

#include "weights/hdf5/hdf5_bytes.h"
#include "weights/hdf5/hdf5_object.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {

// The data set with that header as a tensor, named by the path that file.enter() was given; nothing
// for values that are not floats. The values may be stored in one piece, within the header, or in
// chunks under a B-tree of version 1, packed with gzip, shuffle or not at all. Throws ModelFileError
// for everything else.
std::optional<Tensor> read_dataset(Hdf5Bytes& file, const std::vector<Hdf5Message>& messages);

}  // namespace dfengine::weights
