// A model as an ONNX file that other runtimes give the same probabilities for.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "engine/model/model.h"

namespace dfengine {

// What goes into the exported network. RGB in both cases.
enum class OnnxPixels {
  Raw,        // floats 0 to 255: the graph scales them itself
  Normalized  // (pixel / 255 - mean) / std, done by the caller
};

// Opset 17, float. Input "images" [batch, 3, S, S], S the model's input size. Output of a detector
// "prob_fake" [batch, 1], sigmoid(logit / temperature), of an ImageNet head "logits" [batch,
// classes], without a head "pooled" [batch, C]. A batch norm behind a convolution is folded into it
// (computed in double); TensorFlow's padding becomes explicit asymmetric pads. metadata_props
// carries the model file's metadata (classes, positive_class, threshold, temperature, mean, std,
// resize, crop, ...) and "normalization", "inside" or "outside". Throws Error in a build without
// protobuf.
std::vector<std::byte> model_to_onnx(const Model& model, OnnxPixels pixels);
// Atomic, as save_model.
void save_onnx(const std::filesystem::path& path, const Model& model, OnnxPixels pixels);

}  // namespace dfengine
