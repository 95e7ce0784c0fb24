// The dense layers behind a base as the head of the engine's network.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// y = w x + b, w [rows, columns] row by row.
struct Affine {
  std::size_t rows = 0, columns = 0;
  std::vector<double> w, b;
};

enum class HeadOutput { Sigmoid, Softmax, Linear };

// Takes the steps in order. Those between two activations are multiplied out, in double. Every
// function throws ModelFileError that names the cause, not the file.
class DenseHead {
 public:
  // Behind the pooled features, which are never negative.
  explicit DenseHead(std::size_t features);

  // How many values the steps so far give.
  std::size_t width() const { return segments_.back().width(); }
  void dense(Affine layer);
  // y[i] = scale[i] x[i] + shift[i], a batch norm in inference; both have width() numbers.
  void scale(const std::vector<double>& scale, const std::vector<double>& shift);
  void relu();

  struct Result {
    // head.fc1, head.fc2: one logit, positive where label 1 is meant. Or classifier.1.
    std::vector<Tensor> tensors;
    std::vector<std::string> assumed;  // lines for kAssumed
    bool is_detector() const { return tensors.size() > 2; }
  };
  // One output behind a sigmoid and two behind a softmax are one logit. More outputs without a
  // hidden layer are a classifier. A logit without a hidden layer gets one of two channels:
  //   z = relu(z) - relu(-z)
  Result finish(HeadOutput output) const;

 private:
  // Linear steps in a row as one. A scale before the first dense layer waits for it, because a
  // diagonal matrix of all features would be large for nothing.
  struct Segment {
    explicit Segment(std::size_t inputs) : factor(inputs, 1), shift(inputs, 0) {}
    std::size_t width() const { return has_dense ? sum.rows : factor.size(); }

    bool has_dense = false, scaled = false;
    std::vector<double> factor, shift;
    Affine sum;
  };

  std::vector<Segment> segments_;  // a ReLU stands between two
};

}  // namespace dfengine::weights
