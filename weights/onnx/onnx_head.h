// What stands behind the base of an ONNX graph.
#pragma once

#include <string>

#include "weights/families/dense_head.h"
#include "weights/onnx/onnx_cursor.h"

namespace dfengine::weights {

// Takes the rest of the graph, which works on the pooled features x. There is no head, or dense
// layers with ReLUs between them and a sigmoid or softmax behind the last. In a model of ours
// (`temperature`, where its metadata have one) a Mul may divide the logit. Throws ModelFileError
// for anything else.
DenseHead::Result take_onnx_head(OnnxCursor& cursor, std::string x, std::size_t features,
                                 const double* temperature);

}  // namespace dfengine::weights
