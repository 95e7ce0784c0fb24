#include "weights/keras/keras_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "kernels/base/error.h"

namespace dfengine::weights {
namespace {

class Builder {
 public:
  Builder(const TensorFile& file, const std::vector<KerasArray>& free,
          const KerasSurroundings& model, std::int64_t features)
      : file_(file), free_(free), model_(model), head_(static_cast<std::size_t>(features)) {}

  KerasHead run() {
    try {
      if (!model_.fault.empty()) throw ModelFileError(model_.fault);
      for (const KerasStep& step : model_.steps) add(step);
      out_.made = head_.finish(model_.output);
    } catch (const ModelFileError& e) {
      return {.made = {}, .used = {}, .fault = e.what()};
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] static void fail(const KerasStep& step, const std::string& cause) {
    throw ModelFileError(fmt::format("layer \"{}\" {}", printable(step.name), cause));
  }

  // Keras 3 numbers the variables that a batch norm has, and keras_arrays takes it to have all.
  static KerasRole counted(const KerasStep& step, KerasRole role) {
    const int before = (role > KerasRole::Gamma && !step.scale ? 1 : 0) +
                       (role > KerasRole::Beta && !step.center ? 1 : 0);
    return static_cast<KerasRole>(static_cast<int>(role) - before);
  }

  // The values of the array of that role; empty where the file has none of the layer.
  std::vector<double> values(const KerasStep& step, KerasRole role, std::size_t count) {
    for (const KerasArray& array : free_) {
      if (array.role != (array.numbered ? counted(step, role) : role) ||
          !array.belongs_to(step.name, step.path))
        continue;
      // A file of one layer may name it in thousands of places, each of which takes a product.
      if (std::ranges::find(out_.used, array.tensor) != out_.used.end())
        fail(step, "stands in the model twice");
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
    switch (step.kind) {
      case KerasStep::Kind::Relu:
        return head_.relu();
      case KerasStep::Kind::Dense:
        return head_.dense(dense(step, head_.width()));
      case KerasStep::Kind::Norm:
        return add_norm(step, head_.width());
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

  void add_norm(const KerasStep& step, std::size_t width) {
    std::vector<double> scale, shift;
    if (step.scale) scale = values(step, KerasRole::Gamma, width);
    if (step.center) shift = values(step, KerasRole::Beta, width);
    const std::vector<double> mean = values(step, KerasRole::Mean, width),
                              variance = values(step, KerasRole::Variance, width);
    if (mean.empty() || variance.empty()) fail(step, "has no statistics");
    if (scale.empty()) scale.assign(width, 1);
    if (shift.empty()) shift.assign(width, 0);
    for (std::size_t i = 0; i < width; ++i) {
      scale[i] /= std::sqrt(variance[i] + step.epsilon);
      shift[i] -= scale[i] * mean[i];
    }
    head_.scale(scale, shift);
  }

  const TensorFile& file_;
  const std::vector<KerasArray>& free_;
  const KerasSurroundings& model_;
  DenseHead head_;
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
  model.output = outputs == 1 ? HeadOutput::Sigmoid : HeadOutput::Softmax;
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
