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

// The same in an ensemble of ours. Of a member the two dense layers, behind `first` others, from
// its pooled features x, which becomes its logit.
DenseHead::Result take_member_head(OnnxCursor& cursor, std::string& x, std::size_t features,
                                   int first);
// What stands behind the sum of the logits, with which the graph ends.
void take_probability(OnnxCursor& cursor, std::string logit, const double* temperature);

}  // namespace dfengine::weights
