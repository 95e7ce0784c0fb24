#include "weights/families/dense_head.h"

#include <fmt/format.h>

#include <utility>

#include "kernels/base/error.h"

namespace dfengine::weights {
namespace {

Affine product(const Affine& outer, const Affine& inner) {
  constexpr std::size_t kMost = 1 << 24;  // small matrices can have a large product
  if (outer.rows * inner.columns > kMost)
    throw ModelFileError("its dense layers are too wide to be multiplied out");
  Affine out{outer.rows, inner.columns, std::vector<double>(outer.rows * inner.columns), outer.b};
  for (std::size_t r = 0; r < outer.rows; ++r) {
    for (std::size_t k = 0; k < outer.columns; ++k) {
      const double v = outer.w[r * outer.columns + k];
      out.b[r] += v * inner.b[k];
      for (std::size_t c = 0; c < inner.columns; ++c)
        out.w[r * out.columns + c] += v * inner.w[k * inner.columns + c];
    }
  }
  return out;
}

// Appends weight [rows, columns] and bias [rows].
void push(const std::string& layer, const Affine& a, std::vector<Tensor>& tensors) {
  const auto add = [&](const char* suffix, std::vector<std::int64_t> shape,
                       const std::vector<double>& values) {
    const std::vector<float> rounded(values.begin(), values.end());
    tensors.push_back(
        make_tensor(layer + suffix, std::move(shape), std::span<const float>(rounded)));
  };
  const auto rows = static_cast<std::int64_t>(a.rows);
  add(".weight", {rows, static_cast<std::int64_t>(a.columns)}, a.w);
  add(".bias", {rows}, a.b);
}

// The row whose value is the logit of label 1.
Affine logit_of(const Affine& a, HeadOutput output, std::vector<std::string>& assumed) {
  const bool one = a.rows == 1;
  if (a.rows > 2 || output == (one ? HeadOutput::Softmax : HeadOutput::Sigmoid))
    throw ModelFileError(fmt::format("{} outputs with this activation are no two classes", a.rows));
  if (output == HeadOutput::Linear)
    assumed.push_back(one ? "its output is a logit" : "its two outputs are logits");
  if (one) return a;
  Affine row{1, a.columns, std::vector<double>(a.columns), {a.b[1] - a.b[0]}};
  for (std::size_t c = 0; c < a.columns; ++c) row.w[c] = a.w[a.columns + c] - a.w[c];
  return row;
}

}  // namespace

DenseHead::DenseHead(std::size_t features) {
  segments_.emplace_back(features);
}

void DenseHead::dense(Affine layer) {
  Segment& last = segments_.back();
  if (layer.columns != last.width())
    throw ModelFileError(fmt::format("a dense layer takes {} numbers, {} stand before it",
                                     layer.columns, last.width()));
  if (last.has_dense) {
    last.sum = product(layer, last.sum);
    return;
  }
  for (std::size_t r = 0; last.scaled && r < layer.rows; ++r) {
    for (std::size_t c = 0; c < layer.columns; ++c) {
      double& w = layer.w[r * layer.columns + c];
      layer.b[r] += w * last.shift[c];
      w *= last.factor[c];
    }
  }
  last.has_dense = true;
  last.sum = std::move(layer);
}

void DenseHead::scale(const std::vector<double>& scale, const std::vector<double>& shift) {
  Segment& last = segments_.back();
  if (scale.size() != last.width() || shift.size() != last.width())
    throw ModelFileError(
        fmt::format("a scale has {} numbers, {} stand before it", scale.size(), last.width()));
  if (last.has_dense) {
    Affine& sum = last.sum;
    for (std::size_t r = 0; r < sum.rows; ++r) {
      for (std::size_t c = 0; c < sum.columns; ++c) sum.w[r * sum.columns + c] *= scale[r];
      sum.b[r] = sum.b[r] * scale[r] + shift[r];
    }
    return;
  }
  last.scaled = true;
  for (std::size_t i = 0; i < scale.size(); ++i) {
    last.factor[i] *= scale[i];
    last.shift[i] = last.shift[i] * scale[i] + shift[i];
  }
}

void DenseHead::relu() {
  const Segment& last = segments_.back();
  if (segments_.size() == 1 && !last.has_dense && !last.scaled) return;  // no feature is negative
  if (!last.has_dense) throw ModelFileError("a ReLU has no dense layer before it");
  segments_.emplace_back(last.width());
}

DenseHead::Result DenseHead::finish(HeadOutput output) const {
  const Segment& last = segments_.back();
  if (!last.has_dense) throw ModelFileError("its last layer is not a dense one");
  if (segments_.size() > 2)
    throw ModelFileError(
        fmt::format("it has {} hidden layers, a detector's head has one", segments_.size() - 1));
  Result result;
  if (segments_.size() == 1 && last.width() > 2) {
    push("classifier.1", last.sum, result.tensors);
    return result;
  }
  const Affine row = logit_of(last.sum, output, result.assumed);
  if (segments_.size() == 2) {
    push("head.fc1", segments_[0].sum, result.tensors);
    push("head.fc2", row, result.tensors);
    return result;
  }
  Affine both{2, row.columns, row.w, {row.b[0], -row.b[0]}};
  for (const double w : row.w) both.w.push_back(-w);
  push("head.fc1", both, result.tensors);
  push("head.fc2", {1, 2, {1, -1}, {0}}, result.tensors);
  return result;
}

}  // namespace dfengine::weights
