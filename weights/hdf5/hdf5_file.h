// HDF5 files, as Keras writes them.
// Format: HDF5 File Format Specification 3.0 (The HDF Group).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// Every data set of floats (16, 32 or 64 bits), sorted by path within each group. Its path without
// the leading slash is the tensor's name, and its axes are as stored. Data sets of other types
// (step counters, random seeds) are left out. Keras' attributes layer_names, weight_names, backend,
// keras_version and model_config of a group become metadata entries "PATH@NAME", those of the root
// "@NAME"; several texts are joined by line feeds.
//
// What h5py writes by default is read, and of libver='latest' the parts that are alike: superblocks
// 0 to 3, object headers 1 and 2, symbol tables and link messages, data in one piece, in the header
// or in chunks, gzip and shuffle.
//
// name_for_errors stands where the path would. Throws ModelFileError naming it, the object inside
// and the cause: for damaged files, links that leave their place (soft, external), data outside the
// file, other filters, links or attributes in fractal heaps, and sizes that the file does not
// justify.
TensorFile parse_hdf5(std::span<const std::byte> file, const std::string& name_for_errors);

}  // namespace dfengine::weights
