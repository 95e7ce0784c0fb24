// Chooses kernels by their measured time, once per problem, when a plan is built.
#pragma once

#include <functional>
#include <map>
#include <span>

#include "kernels/cuda/tuning/choice.h"
#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

// A buffer of a problem, filled with random numbers of this type before anything is timed: zeros
// draw less power and run faster than data does.
struct Operand {
  StorageType type = StorageType::F32;
  Index count = 0;
  constexpr Index bytes() const { return count * bytes_of(type); }
};

struct TunerProblem {
  // Operation, sizes, types, epilogue: equal keys have equal answers.
  std::string key;
  std::vector<Operand> operands;
};

// One launch on buffers laid out as the problem's operands.
using Launch = std::function<void(Stream, std::span<void* const> operands)>;
// Microseconds of one launch of a candidate, warm. Throws DeviceError where it cannot run.
using Measure = std::function<double(const Candidate&, const Launch&)>;
// Makes the buffers of a problem; they live as long as what is returned.
using StartMeasuring = std::function<Measure(const TunerProblem&)>;

// On the device, between events on this stream, which must not be capturing.
StartMeasuring device_timing(Stream stream);

class Tuner {
 public:
  using Offer = std::function<std::vector<Candidate>(Libraries&)>;
  using Start = std::function<Launch(const Candidate&)>;

  // start: device_timing, or made-up times in tests.
  explicit Tuner(StartMeasuring start) : start_measuring_(std::move(start)) {}

  // The fastest of the candidates by the median of a few rounds; ties go to the earlier one.
  // own: the first is the rule's. offer: a library's candidates; empty for none. start: launches a
  // candidate on the problem's operands and, behind them, scratch for any of them.
  // What throws DeviceError is left out, and why is kept; when nothing is left, DeviceError with
  // all reasons. Where the buffers do not fit into the device's memory, the rule's choice.
  ChoicePtr choose(TunerProblem problem, std::vector<Candidate> own, const Offer& offer,
                   const Start& start);

 private:
  ChoicePtr time(TunerProblem problem, std::vector<Candidate> candidates, const Offer& offer,
                 const Start& start);

  StartMeasuring start_measuring_;
  Libraries libraries_;
  std::map<std::string, ChoicePtr> known_;
};

}  // namespace dfengine::cuda
