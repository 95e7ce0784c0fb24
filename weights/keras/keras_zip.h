// Keras 3's .keras archive: a zip of config.json, metadata.json and model.weights.h5.
#pragma once

#include "weights/tensor_file.h"
#include "weights/zip_archive.h"

namespace dfengine::weights {

// Whether the archive has Keras' model.weights.h5.
bool is_keras_zip(const ZipArchive& archive);

// The archive's model.weights.h5 as parse_hdf5 gives it. Metadata entries "@model_config" (the
// text of config.json) and "@keras_version" are added where the archive has them. Throws
// ModelFileError naming the member and the cause.
TensorFile parse_keras_zip(ZipArchive& archive);

}  // namespace dfengine::weights
