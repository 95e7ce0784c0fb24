// Gives a model its batch norms back that were folded into its convolutions, so that all of it can
// be trained.
#pragma once

#include "engine/model/model.h"
#include "engine/runtime/session.h"

namespace dfengine {

// Fewer pictures say too little about a layer's variance.
inline constexpr Index kLeastUnfoldPictures = 32;

// Estimates mean m and unbiased variance v of each convolution's output over pictures, and sets
//   running_mean = m, running_var = v, gamma = s sqrt(v + eps), beta = b + s m
// where y = s x + b is what the batch norm did before (folded: s = 1). Inference stays as it was up
// to rounding, because that map is kept; in training, batches of such pictures are normalised as
// PyTorch would have them.
class BatchNormUnfolder {
 public:
  // Both must outlive this. UsageError unless the model's batch norms are folded and the
  // backend computes in float.
  BatchNormUnfolder(Model& model, const Backend& backend);

  // images [n, size, size, 3] uint8 RGB of the model's input size.
  void add(const std::uint8_t* images, Index n);
  // Writes the model and its notes. DataError after fewer than kLeastUnfoldPictures pictures;
  // ModelFileError where a statistic is not a number.
  void finish();

 private:
  struct Statistics {
    Norm norm;
    std::string output;  // of the graph: what goes into the batch norm
    Index channels = 0, rows = 0;
    std::vector<double> mean, squares;  // [channels]; squares: sum of squared deviations
  };
  static Graph with_norm_inputs(const Model& model, std::vector<Statistics>& of);
  void add_slice(Statistics& of, const float* x) const;
  void set(const Statistics& of, double count);

  Model& model_;
  const Backend& backend_;
  ParameterBlock parameters_;
  std::vector<Statistics> statistics_;
  Session session_;
  Index pictures_ = 0;
};

}  // namespace dfengine
