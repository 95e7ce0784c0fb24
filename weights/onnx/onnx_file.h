// The ONNX format: a protobuf message that holds a graph and its constants.
// Needs libprotobuf (CMake option DFENGINE_ONNX).
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "weights/onnx/file_beside.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {

// False in a build without protobuf: reading and writing then throw, naming the option.
bool onnx_supported();

// The metadata entry that holds the graph: one line per node, in the file's order, numbered from 0.
// Operands are "input" or "%NUMBER"; constants are the tensors below, or stand in the line:
//   Conv %0 kernel 3,3 strides 2,2 dilations 1,1 group 1 pads 1,1,1,1    (or pads SAME_UPPER, ...)
//   BatchNormalization %0 eps 1e-05
//   Clip %0 0 6
//   Add %1 %4                                                    (the smaller number stands first)
//   Gemm %7 transA 0 transB 1 alpha 1 beta 1
// Every other operator is its name and its operands. An operand is "?" where a constant made it, or
// a node that is left out. Nodes are left out that do not compute on activations (Constant, shape
// arithmetic) or change nothing (Identity, Dropout, Cast; Flatten, Reshape or Squeeze of pooled
// features; a Transpose of the input from NHWC). Several ways to say one thing have one line:
// ReduceMean over H and W is a GlobalAveragePool, MatMul by a constant a Gemm, an Add of a constant
// behind it its bias, Min and Max by a constant a Clip, a Pad with zeros part of the next Conv.
inline constexpr const char* kOnnxNodes = "onnx.nodes";
// The metadata entry with the side of the picture, where the input's shape states one.
inline constexpr const char* kOnnxInputSize = "onnx.input_size";

// Tensors conv0.weight, conv0.bias, conv1.weight, ..., gemm0.weight, ..., norm0.weight, norm0.bias,
// norm0.running_mean, norm0.running_var, ..., in graph order, and the constant operand of an
// arithmetic node as sub0.value, mul0.value, ... The metadata are metadata_props and the entries
// above. All tensors together take at most twice the bytes of the file and of those beside it.
// Throws ModelFileError with the file, the node, tensor or byte offset, and the cause.
TensorFile parse_onnx(std::span<const std::byte> file, const std::string& name_for_errors,
                      const FileBeside& beside);

}  // namespace dfengine::weights
