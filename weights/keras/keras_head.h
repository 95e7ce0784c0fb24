// The dense layers behind a Keras base as the head of the engine's network.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "weights/keras/keras_arrays.h"
#include "weights/keras/keras_surroundings.h"

namespace dfengine::weights {

struct KerasHead {
  // head.fc1, head.fc2 for one logit, or classifier.1 for several classes.
  std::vector<Tensor> tensors;
  std::vector<std::size_t> used;  // positions in TensorFile::tensors
  std::vector<std::string> assumed;
  std::string fault;  // why there are no tensors
};

// The steps that dense layers without a configuration stand for: with a ReLU between two of them, a
// sigmoid or softmax behind the last. `free` are the arrays that are not the base's.
KerasSurroundings guessed_surroundings(const TensorFile& file, const std::vector<KerasArray>& free);

// One logit, positive where label 1 is meant, from one output with a sigmoid or from two with a
// softmax; more outputs without a hidden layer are a classifier. Layers between two activations are
// multiplied out, in double. A logit without a hidden layer gets one of two channels:
//   z = relu(z) - relu(-z)
// `features` are the channels of the pooled base.
KerasHead keras_head(const TensorFile& file, const std::vector<KerasArray>& free,
                     const KerasSurroundings& model, std::int64_t features);

}  // namespace dfengine::weights
