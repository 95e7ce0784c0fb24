#include "weights/onnx/onnx_head.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace dfengine::weights {
namespace {

std::string take_dense(OnnxCursor& cursor, const std::string& x, int i, DenseHead& head) {
  const auto gemm = [&](int transposed) {
    return fmt::format("Gemm {} transA 0 transB {} alpha 1 beta 1", x, transposed);
  };
  const bool plain = cursor.line() == gemm(0);
  const std::string y = cursor.expect(gemm(plain ? 0 : 1));
  const Tensor& stored = cursor.tensor(fmt::format("gemm{}.weight", i));
  if (stored.shape.size() != 2 || stored.bytes.empty()) cursor.fail(stored.name + " is no matrix");
  constexpr std::size_t kAxes[] = {1, 0};
  const Tensor weight = plain ? transposed(stored, kAxes) : stored;  // [K, C]
  Affine layer{static_cast<std::size_t>(weight.shape[0]),
               static_cast<std::size_t>(weight.shape[1]),
               doubles(weight),
               {}};
  // Exporters drop a bias of zeros.
  const Tensor* bias = cursor.file().find(fmt::format("gemm{}.bias", i));
  layer.b = bias != nullptr ? doubles(*bias) : std::vector<double>(layer.rows);
  if (layer.b.size() != layer.rows)
    cursor.fail(fmt::format("gemm{}: bias [{}] does not fit weight [{}]", i, layer.b.size(),
                            fmt::join(weight.shape, ", ")));
  head.dense(std::move(layer));
  return y;
}

std::string take_temperature(OnnxCursor& cursor, const std::string& logit,
                             const double* temperature) {
  if (temperature == nullptr ||
      cursor.constant(1)[0] != double(static_cast<float>(1 / *temperature)))
    cursor.fail("scales its logit in another way than its metadata's 'temperature' says");
  return cursor.expect("Mul " + logit);
}

}  // namespace

DenseHead::Result take_onnx_head(OnnxCursor& cursor, std::string x, std::size_t features,
                                 const double* temperature) {
  if (cursor.at_end()) return {};
  DenseHead head(features);
  HeadOutput output = HeadOutput::Linear;
  for (int dense = 0; !cursor.at_end();) {
    if (cursor.next_is("Gemm")) {
      x = take_dense(cursor, x, dense++, head);
    } else if (cursor.next_is("Relu")) {
      x = cursor.expect("Relu " + x);
      head.relu();
    } else if (cursor.next_is("Mul") && dense == 2) {
      x = take_temperature(cursor, x, temperature);
    } else {
      const bool softmax = cursor.next_is("Softmax");
      output = softmax ? HeadOutput::Softmax : HeadOutput::Sigmoid;
      cursor.expect((softmax ? "Softmax " : "Sigmoid ") + x);
      if (!cursor.at_end()) cursor.mismatch("nothing more");
    }
  }
  return head.finish(output);
}

DenseHead::Result take_member_head(OnnxCursor& cursor, std::string& x, std::size_t features,
                                   int first) {
  DenseHead head(features);
  x = cursor.expect("Relu " + take_dense(cursor, x, first, head));
  head.relu();
  x = take_dense(cursor, x, first + 1, head);
  return head.finish(HeadOutput::Sigmoid);
}

void take_probability(OnnxCursor& cursor, std::string logit, const double* temperature) {
  if (cursor.next_is("Mul")) logit = take_temperature(cursor, logit, temperature);
  cursor.expect("Sigmoid " + logit);
  if (!cursor.at_end()) cursor.mismatch("nothing more");
}

}  // namespace dfengine::weights
