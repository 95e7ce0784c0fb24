// Files of torch.save: zip archives (PyTorch 1.6 and later) and the older stream of pickles.
// Formats: torch/serialization.py, functions _save and _legacy_save.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "weights/tensor_file.h"
#include "weights/zip_archive.h"

namespace dfengine::weights {

// Such a file holds five pickles (magic number, protocol, system, object, storage keys), then for
// each key its element count (8 bytes) and its elements. read_state_dict in
// weights/torch/torch_state_dict.h says what is taken from the object. Throws ModelFileError with
// file, place and cause.
TensorFile parse_torch_legacy(std::span<const std::byte> file, const std::string& name_for_errors);

// Such an archive holds NAME/data.pkl and a storage in each NAME/data/KEY; NAME/byteorder, if it is
// there, must say little. Throws as above.
TensorFile parse_torch_zip(ZipArchive& archive);

// Whether parse_torch_zip is the reader for this archive.
bool is_torch_zip(const ZipArchive& archive);

}  // namespace dfengine::weights
