// Detectors that a student learns from (Hinton, Vinyals and Dean 2015).
#pragma once

#include <memory>
#include <vector>

#include "engine/model/predictor.h"
#include "engine/train/options.h"

namespace dfengine {

class Teachers {
 public:
  // Reads those of the options. `student` gets a note of their content; where it has one, as a run
  // that goes on has, DataError is thrown if they are others. UsageError where they take other
  // pictures than training makes.
  Teachers(const TrainOptions& options, Model& student, const Backend& backend);

  bool any() const { return !teachers_.empty(); }
  // targets [n] = the mean over the teachers of sigmoid(logit / temperature). images [n, size,
  // size, 3].
  void answer(const std::uint8_t* images, std::vector<float>& targets);
  Index bytes() const;

 private:
  struct Teacher {
    Model model;
    std::unique_ptr<Predictor> predictor;
  };
  double temperature_;
  std::vector<std::unique_ptr<Teacher>> teachers_;
  std::vector<float> logits_;
};

}  // namespace dfengine
