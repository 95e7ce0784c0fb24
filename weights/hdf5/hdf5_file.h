// HDF5 files, as Keras writes them.
// Format: HDF5 File Format Specification 3.0 (The HDF Group).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// Every data set of floats (16, 32 or 64 bits), sorted by path within each group: its path without
// the leading slash is the tensor's name, its axes are as stored. Data sets of other types (step
// counters, random seeds) are left out. Keras' attributes of a group become metadata entries
// "PATH@NAME" (root: "@NAME") for the names layer_names, weight_names, backend, keras_version and
// model_config: texts joined by line feeds.
//
// The part of the format that h5py writes by default is read, and of libver='latest' what is alike:
// superblocks 0 to 3, object headers 1 and 2, symbol tables and link messages, data in one piece,
// in the header or in chunks, gzip and shuffle.
//
// name_for_errors stands where the path would. Throws ModelFileError naming it, the object inside
// and the cause: damaged files, links that leave their place (soft, external), data outside the
// file, other filters, links or attributes in fractal heaps, sizes the file does not justify.
TensorFile parse_hdf5(std::span<const std::byte> file, const std::string& name_for_errors);

}  // namespace dfengine::weights
