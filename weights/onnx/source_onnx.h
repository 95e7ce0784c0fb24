// Family "onnx": a MobileNetV2 whose batch norms are folded into its convolutions, as PyTorch
// exports it and as dfengine writes it. Tensors are matched by order and shape, and every node of
// the graph is compared with the published network.
#pragma once

#include <span>
#include <string>

#include "weights/families/mobilenet_v2_names.h"

namespace dfengine::weights {

// True for a file that onnx_file.h has read.
bool is_onnx(const TensorFile& file);

// Convolutions stay as they are. Each batch norm becomes the identity that adds the folded bias:
// gamma 1, mean 0, variance 1 - eps, so that folding it again gives the same bits. The metadata say
// "bn_folded" = "yes", because the statistics are lost and the base is good for inference or for
// training with the base frozen. Where the file says nothing, ImageNet normalisation, eps 1e-5 and
// the padding of the graph are assumed. Throws ModelFileError for other strides (the model zoo's
// mobilenetv2-7), for operators that a folded MobileNetV2 has not, and for another order or wiring.
TensorFile onnx_to_torchvision(TensorFile file, std::span<const Stage> stages,
                               const std::string& name_for_errors);

}  // namespace dfengine::weights
