// What varies from step to step of training, in the memory of what computes: read and moved by
// kernels alone, so that a captured step can run again and again.
#pragma once

#include <cstdint>

#include "kernels/base/shape.h"
#include "kernels/cuda/stream.h"

namespace dfengine {

// What the host gives each step.
struct StepInput {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;  // steps of the whole run so far; dropout draws by seed and step
  double learning_rate = 0;
  double average_decay = 0;   // of the moving average of parameters
  double gradient_scale = 1;  // of gradients that several steps added up
};

// What one step leaves to the next.
struct StepScalars {
  std::uint64_t step = 0;      // optimiser steps applied so far
  std::uint64_t position = 0;  // steps tried
  std::uint64_t skipped = 0;   // steps not applied, because a gradient was not finite
  float loss_scale = 1.0f;
  std::uint32_t overflow = 0;    // 1: a gradient of this step is not finite
  std::uint32_t good_steps = 0;  // applied in a row at this scale
  // Steps at one scale before it doubles; 0: the scale stays (bf16 and fp32, whose range is
  // float's).
  std::uint32_t growth_interval = 0;
};

// Dynamic loss scaling as PyTorch's GradScaler has it (Micikevicius et al. 2018): halve on
// overflow, double after growth_interval applied steps in a row.
inline constexpr float kInitialLossScale = 65536.0f;
inline constexpr float kLargestLossScale = 16777216.0f;
inline constexpr std::uint32_t kGrowthInterval = 2000;

constexpr StepScalars next_scalars(StepScalars s) {
  ++s.position;
  if (s.overflow != 0) {
    ++s.skipped;
    s.good_steps = 0;
    if (s.growth_interval > 0 && s.loss_scale > 1.0f) s.loss_scale *= 0.5f;
  } else {
    ++s.step;
    ++s.good_steps;
    if (s.good_steps == s.growth_interval) {
      s.good_steps = 0;
      if (s.loss_scale < kLargestLossScale) s.loss_scale *= 2.0f;
    }
  }
  s.overflow = 0;
  return s;
}

// After a step whose gradients wait for the next: its overflow is the next one's, too.
constexpr StepScalars waiting_scalars(StepScalars s) {
  ++s.position;
  return s;
}

// What is kept of a step for the host to read later, at record[position % kStepRecords].
inline constexpr std::uint64_t kStepRecords = 64;
struct StepRecord {
  float loss = 0.0f;   // mean over the batch
  float right = 0.0f;  // how many are right at probability 0.5
};

namespace cuda {

// scalars->overflow becomes 1 where any of the `count` values is not finite.
void check_finite(Stream stream, Index count, const float* values, StepScalars* scalars);

// logits and targets [n], loss [1]; records [kStepRecords].
void record_step(Stream stream, Index n, const float* logits, const float* targets,
                 const float* loss, const StepScalars* scalars, StepRecord* records);

// The same of a batch in slices, from the sums over all of them (bce_sums) and their pictures.
void record_sums(Stream stream, const double* sums, Index whole, const StepScalars* scalars,
                 StepRecord* records);

// Last: moves step, position, loss scale and counters by next_scalars.
void finish_step(Stream stream, StepScalars* scalars);
// The same by waiting_scalars.
void wait_step(Stream stream, StepScalars* scalars);

// to[i] = from[i] in T (Half, BFloat16 or float).
template <class T>
void cast(Stream stream, Index count, const float* from, T* to);

}  // namespace cuda

}  // namespace dfengine
