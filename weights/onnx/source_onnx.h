// Family "onnx": a MobileNetV2 whose batch norms are folded into its convolutions, as PyTorch
// exports it and as dfengine writes it. Mapped by order and shape; every node of the graph is
// compared with the published network.
#pragma once

#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// True for what onnx_file.h reads.
bool is_onnx(const TensorFile& file);

// Convolutions as they are; each batch norm becomes the identity that adds the folded bias: gamma
// 1, mean 0, variance 1 - eps, so that folding it again gives the same bits. Metadata "bn_folded" =
// "yes": statistics are lost, the base is good for inference or frozen. Conventions where the file
// says nothing: ImageNet normalisation, eps 1e-5, and the padding that the graph has. Throws
// ModelFileError for other strides (the model zoo's mobilenetv2-7), for operators a folded
// MobileNetV2 has not, and for another order or wiring.
TensorFile onnx_to_torchvision(TensorFile file, const std::string& name_for_errors);

}  // namespace dfengine::weights
