// HDF5 files, as Keras writes them, through libhdf5.
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
// model_config: texts joined by line feeds. A text of variable length, whose size the library takes
// from the file unchecked, stays empty; but model_config is looked for in the file's bytes.
//
// name_for_errors stands where the path would. Throws ModelFileError naming it, the object inside
// and the cause: damaged files, links that leave their place (soft, external), data outside the
// file, filters other than gzip and shuffle, sizes the file does not justify; and always when built
// without libhdf5. Calls wait for each other.
//
// Not safe for files of unknown origin: libhdf5 itself crashes or loops on some damaged files,
// which checks around it cannot prevent (tests/fuzz.sh finds such files within minutes). Until this
// reader has its own parser, read HDF5 files only from people you trust.
TensorFile parse_hdf5(std::span<const std::byte> file, const std::string& name_for_errors);

}  // namespace dfengine::weights
