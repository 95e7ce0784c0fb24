#include "weights/keras/keras_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "kernels/base/error.h"

namespace dfengine::weights {
namespace {

// y = w x + b, w [rows, columns] row by row.
struct Affine {
  std::size_t rows = 0, columns = 0;
  std::vector<double> w, b;
};

// Several linear steps in a row as one. A scale before the first dense layer waits for it, because
// a diagonal matrix of all features would be large for nothing.
class Segment {
 public:
  explicit Segment(std::size_t inputs) : scale_(inputs, 1), shift_(inputs, 0) {}

  bool has_dense() const { return dense_; }
  bool is_idle() const { return !dense_ && !scaled_; }
  std::size_t width() const { return dense_ ? sum_.rows : scale_.size(); }

  void norm(const std::vector<double>& scale, const std::vector<double>& shift) {
    if (dense_) {
      for (std::size_t r = 0; r < sum_.rows; ++r) {
        for (std::size_t c = 0; c < sum_.columns; ++c) sum_.w[r * sum_.columns + c] *= scale[r];
        sum_.b[r] = sum_.b[r] * scale[r] + shift[r];
      }
      return;
    }
    scaled_ = true;
    for (std::size_t i = 0; i < scale.size(); ++i) {
      scale_[i] *= scale[i];
      shift_[i] = shift_[i] * scale[i] + shift[i];
    }
  }

  void dense(Affine next) {
    if (dense_) {
      sum_ = product(next, sum_);
      return;
    }
    dense_ = true;
    if (scaled_) {
      for (std::size_t r = 0; r < next.rows; ++r) {
        for (std::size_t c = 0; c < next.columns; ++c) {
          double& w = next.w[r * next.columns + c];
          next.b[r] += w * shift_[c];
          w *= scale_[c];
        }
      }
    }
    sum_ = std::move(next);
  }

  const Affine& sum() const { return sum_; }

 private:
  static Affine product(const Affine& outer, const Affine& inner) {
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

  bool dense_ = false, scaled_ = false;
  std::vector<double> scale_, shift_;
  Affine sum_;
};

class Builder {
 public:
  Builder(const TensorFile& file, const std::vector<KerasArray>& free,
          const KerasSurroundings& model, std::int64_t features)
      : file_(file), free_(free), model_(model) {
    segments_.emplace_back(static_cast<std::size_t>(features));
  }

  KerasHead run() {
    try {
      if (!model_.fault.empty()) throw ModelFileError(model_.fault);
      for (const KerasStep& step : model_.steps) add(step);
      finish();
    } catch (const ModelFileError& e) {
      return {.tensors = {}, .used = {}, .assumed = {}, .fault = e.what()};
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] static void fail(const KerasStep& step, const std::string& cause) {
    throw ModelFileError(fmt::format("layer \"{}\" {}", printable(step.name), cause));
  }

  // The values of the array of that role; empty where the file has none of the layer.
  std::vector<double> values(const KerasStep& step, KerasRole role, std::size_t count) {
    for (const KerasArray& array : free_) {
      if (array.role != role || !array.belongs_to(step.name, step.path)) continue;
      const Tensor& tensor = file_.tensors[array.tensor];
      const std::vector<float> read = to_float(tensor);
      if (read.size() != count)
        fail(step, fmt::format("has {} numbers, not {}", read.size(), count));
      out_.used.push_back(array.tensor);
      return {read.begin(), read.end()};
    }
    return {};
  }

  // The columns of a dense kernel [inputs, outputs]; 0 where it does not fit.
  std::size_t outputs_of(const KerasStep& step, std::size_t inputs) const {
    for (const KerasArray& array : free_) {
      if (array.role != KerasRole::DenseKernel || !array.belongs_to(step.name, step.path)) continue;
      const auto& shape = file_.tensors[array.tensor].shape;
      return shape[0] == static_cast<std::int64_t>(inputs) ? static_cast<std::size_t>(shape[1]) : 0;
    }
    return 0;
  }

  void add(const KerasStep& step) {
    Segment& last = segments_.back();
    const std::size_t width = last.width();
    switch (step.kind) {
      case KerasStep::Kind::Relu:
        // The pooled features are sums of ReLU6's values.
        if (segments_.size() == 1 && last.is_idle()) return;
        if (!last.has_dense()) fail(step, "is a ReLU without a dense layer before it");
        segments_.emplace_back(width);
        return;
      case KerasStep::Kind::Dense:
        return last.dense(dense(step, width));
      case KerasStep::Kind::Norm:
        return add_norm(step, last, width);
    }
  }

  Affine dense(const KerasStep& step, std::size_t inputs) {
    const std::size_t outputs = outputs_of(step, inputs);
    if (outputs == 0) fail(step, fmt::format("has no kernel for {} inputs", inputs));
    const std::vector<double> kernel = values(step, KerasRole::DenseKernel, inputs * outputs);
    Affine a{outputs, inputs, std::vector<double>(kernel.size()),
             values(step, KerasRole::DenseBias, outputs)};
    for (std::size_t r = 0; r < outputs; ++r)
      for (std::size_t c = 0; c < inputs; ++c) a.w[r * inputs + c] = kernel[c * outputs + r];
    a.b.resize(outputs);
    return a;
  }

  void add_norm(const KerasStep& step, Segment& last, std::size_t width) {
    std::vector<double> scale = values(step, KerasRole::Gamma, width),
                        shift = values(step, KerasRole::Beta, width);
    const std::vector<double> mean = values(step, KerasRole::Mean, width),
                              variance = values(step, KerasRole::Variance, width);
    if (mean.empty() || variance.empty()) fail(step, "has no statistics");
    if (scale.empty()) scale.assign(width, 1);
    if (shift.empty()) shift.assign(width, 0);
    for (std::size_t i = 0; i < width; ++i) {
      scale[i] /= std::sqrt(variance[i] + step.epsilon);
      shift[i] -= scale[i] * mean[i];
    }
    last.norm(scale, shift);
  }

  static Tensor tensor(const char* name, std::vector<std::int64_t> shape,
                       const std::vector<double>& values) {
    const std::vector<float> rounded(values.begin(), values.end());
    return make_tensor(name, std::move(shape), std::span<const float>(rounded));
  }

  void push(const char* weight, const char* bias, const Affine& a) {
    const auto rows = static_cast<std::int64_t>(a.rows),
               columns = static_cast<std::int64_t>(a.columns);
    out_.tensors.push_back(tensor(weight, {rows, columns}, a.w));
    out_.tensors.push_back(tensor(bias, {rows}, a.b));
  }

  // The row whose value is the logit of label 1.
  Affine logit(const Affine& a) {
    const bool one = a.rows == 1;
    if (a.rows > 2 || (one && model_.output == KerasOutput::Softmax) ||
        (!one && model_.output == KerasOutput::Sigmoid))
      throw ModelFileError(
          fmt::format("{} outputs with this activation are no two classes", a.rows));
    if (model_.output == KerasOutput::Linear)
      out_.assumed.push_back(one ? "its output is a logit" : "its two outputs are logits");
    if (one) return a;
    Affine row{1, a.columns, std::vector<double>(a.columns), {a.b[1] - a.b[0]}};
    for (std::size_t c = 0; c < a.columns; ++c) row.w[c] = a.w[a.columns + c] - a.w[c];
    return row;
  }

  void finish() {
    const Segment& last = segments_.back();
    if (!last.has_dense()) throw ModelFileError("its last layer is not a dense one");
    if (segments_.size() > 2)
      throw ModelFileError(
          fmt::format("it has {} hidden layers, a detector's head has one", segments_.size() - 1));
    if (segments_.size() == 1 && last.width() > 2)
      return push("classifier.1.weight", "classifier.1.bias", last.sum());
    const Affine row = logit(last.sum());
    if (segments_.size() == 2) {
      push("head.fc1.weight", "head.fc1.bias", segments_[0].sum());
      return push("head.fc2.weight", "head.fc2.bias", row);
    }
    Affine both{2, row.columns, row.w, {row.b[0], -row.b[0]}};
    for (const double w : row.w) both.w.push_back(-w);
    push("head.fc1.weight", "head.fc1.bias", both);
    push("head.fc2.weight", "head.fc2.bias", {1, 2, {1, -1}, {0}});
  }

  const TensorFile& file_;
  const std::vector<KerasArray>& free_;
  const KerasSurroundings& model_;
  std::vector<Segment> segments_;  // a ReLU stands between two
  KerasHead out_;
};

}  // namespace

KerasSurroundings guessed_surroundings(const TensorFile& file,
                                       const std::vector<KerasArray>& free) {
  KerasSurroundings model;
  std::int64_t outputs = 0;
  for (const KerasArray& array : free) {
    if (array.role == KerasRole::DenseBias) continue;
    if (array.role != KerasRole::DenseKernel) {
      model.fault =
          fmt::format("nothing says what \"{}\" does", printable(file.tensors[array.tensor].name));
      return model;
    }
    if (outputs != 0) model.steps.push_back({KerasStep::Kind::Relu, "", ""});
    model.steps.push_back({KerasStep::Kind::Dense, array.layer, array.folder});
    outputs = file.tensors[array.tensor].shape[1];
  }
  if (model.steps.empty()) {
    model.fault = "it has no head";
    return model;
  }
  model.output = outputs == 1 ? KerasOutput::Sigmoid : KerasOutput::Softmax;
  if (model.steps.size() > 1) model.assumed.push_back("a ReLU stands between its dense layers");
  if (outputs <= 2)
    model.assumed.push_back(outputs == 1 ? "its output passes a sigmoid"
                                         : "its outputs pass a softmax");
  return model;
}

KerasHead keras_head(const TensorFile& file, const std::vector<KerasArray>& free,
                     const KerasSurroundings& model, std::int64_t features) {
  return Builder(file, free, model, features).run();
}

}  // namespace dfengine::weights
