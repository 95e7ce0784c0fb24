// The layers that a network's plans run, each once, and what each should compute.
#pragma once

#include <optional>
#include <string>

#include "engine/plan/plan.h"
#include "engine/selftest/layer_run.h"
#include "layers/networks/architectures.h"

namespace dfengine {

// A layer in one of its forms: of inference, of training, with its batch norm on load or without.
struct LayerCase {
  std::string text;  // "pointwise [2, 48, 48, 16] to [2, 48, 48, 96], training"
  std::string layer;
  Operation operation;
  std::vector<Spec> in;
  Phase phase = Phase::Infer;
  bool backward = false;
  BackwardCall call;  // which gradients the plan asks for
};

// Of inference and of training all of a network on so many pictures, in the backend's element.
// Equal layers stand for one another. rule: makes the backend's kernels without timing them.
std::vector<LayerCase> layer_cases(const Network& network, Index pictures, const Backend& backend,
                                   const KernelMaker& rule);

// A layer with random numbers, and what it computes in double with these very numbers.
class LayerCheck {
 public:
  // backend and doubles, the oracle's, must outlive it. times: how often its condition is measured.
  LayerCheck(const LayerCase& layer, const Backend& backend, const Backend& doubles, int times);

  // The launches of a layer that can have kernels of their own.
  enum Launch : std::size_t { kForward, kDataGradient, kWeightGradient };
  // Largest error, in shares of what is allowed, and where more than that was found: "y[12] is 3.5,
  // not 4 within 0.1".
  struct Outcome {
    double error = 0;
    std::string failure = {};
    Launch launch = kForward;  // that failed
  };
  // Runs the kernel that `maker` makes. Throws Error where it cannot run or writes outside.
  Outcome run(const KernelMaker& maker);
  KernelNames names(const KernelMaker& maker);

 private:
  Results exact_results(const LayerRun& exact) const;
  LayerRun exact_run(const Backend& doubles) const;
  // The operation in double on what the layer holds of its first input.
  LayerRun with_first_input(const Operation& operation, const Backend& doubles) const;
  void choose_numbers(const Backend& doubles);
  // The gradient of y, behind the last step of a norm's gradient on load. The step's y and dy are
  // shaken.
  Doubles behind_norm(const Doubles& y, const Shake& shake) const;
  Element element_of_result(std::size_t k) const;
  std::string name_of_result(std::size_t k) const;
  Launch launch_of_result(std::size_t k) const;

  LayerCase case_;
  LayerRun run_;
  Results want_;
  std::vector<double> allowed_;
};

}  // namespace dfengine
