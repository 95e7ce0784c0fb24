// The dense layers behind a Keras base as the head of the engine's network.
#pragma once

#include <string>
#include <vector>

#include "weights/families/dense_head.h"
#include "weights/keras/keras_arrays.h"
#include "weights/keras/keras_surroundings.h"

namespace dfengine::weights {

struct KerasHead {
  DenseHead::Result made;
  std::vector<std::size_t> used;  // positions in TensorFile::tensors
  std::string fault;              // why nothing was made
};

// The steps that dense layers without a configuration stand for: with a ReLU between two of them, a
// sigmoid or softmax behind the last. `free` are the arrays that are not the base's.
KerasSurroundings guessed_surroundings(const TensorFile& file, const std::vector<KerasArray>& free);

// The steps of `model` with their arrays among `free`, behind the `features` channels of the base.
KerasHead keras_head(const TensorFile& file, const std::vector<KerasArray>& free,
                     const KerasSurroundings& model, std::int64_t features);

}  // namespace dfengine::weights
