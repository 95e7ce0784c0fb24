// Keras 3's .keras archive: a zip of config.json, metadata.json and model.weights.h5.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// Whether a zip archive has Keras' model.weights.h5. False for anything libzip cannot open, and
// when built without it.
bool is_keras_zip(std::span<const std::byte> file);

// The archive's model.weights.h5 as parse_hdf5 gives it. Metadata entries "@model_config" (the
// text of config.json) and "@keras_version" are added where the archive has them. Throws
// ModelFileError naming the member and the cause.
TensorFile parse_keras_zip(std::span<const std::byte> file, const std::string& name_for_errors);

}  // namespace dfengine::weights
