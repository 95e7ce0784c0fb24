// Chooses kernels by their measured time, once per problem, when a plan is built.
#pragma once

#include <algorithm>
#include <any>
#include <map>
#include <span>

#include "kernels/base/error.h"
#include "kernels/cuda/tuning/choice.h"
#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

// A buffer of a problem. It is filled with random numbers of this type before anything is timed:
// zeros draw less power and run faster than data does.
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

// A kernel as it is timed: it is launched on buffers laid out as the problem's operands.
using Candidate = Kernel<void(Stream, std::span<void* const> operands)>;
// The microseconds of one launch of a candidate, warm. Throws DeviceError where it cannot run.
using Measure = std::function<double(const Candidate&)>;
// Makes the buffers of a problem. They live as long as the function that is returned.
using StartMeasuring = std::function<Measure(const TunerProblem&)>;

// Times on the device, between events on this stream, which must not be capturing.
StartMeasuring device_timing(Stream stream);

class Tuner {
 public:
  template <class Launch>
  using Offer = std::function<std::vector<Kernel<Launch>>(Libraries&)>;
  // Makes of a launch one that takes its arguments from the problem's operands and, behind them,
  // scratch that is large enough for any candidate.
  template <class Launch>
  using OnOperands = std::function<std::function<void(Stream, std::span<void* const> operands)>(
      const std::function<Launch>&)>;

  // start: device_timing, or made-up times in tests.
  explicit Tuner(StartMeasuring start) : start_measuring_(std::move(start)) {}

  // The fastest of the kernels by the median of a few rounds; ties go to the earlier one. The first
  // is the rule's. Names differ. offer: the kernels of a library; empty where there are none.
  // A kernel that throws DeviceError is left out, and the reason is kept; when none is left, throws
  // DeviceError with all reasons. Where the buffers do not fit into the device's memory, the rule
  // chooses.
  template <class Launch>
  Chosen<Launch> choose(const TunerProblem& problem, std::vector<Kernel<Launch>> kernels,
                        const Offer<Launch>& offer, const OnOperands<Launch>& on_operands) {
    if (const auto found = known_.find(problem.key); found != known_.end())
      return std::any_cast<const Chosen<Launch>&>(found->second);
    std::vector<std::string> left_out;
    try {
      if (offer) std::ranges::move(offer(libraries_), std::back_inserter(kernels));
    } catch (const DeviceError& e) {
      left_out.push_back(std::string("library: ") + e.what());
    }
    std::vector<Candidate> candidates;
    for (const Kernel<Launch>& k : kernels)
      candidates.push_back({.name = k.name, .scratch = k.scratch, .launch = on_operands(k.launch)});
    Choice choice = time(problem, candidates, std::move(left_out));
    const auto kernel = std::ranges::find(kernels, choice.name, &Kernel<Launch>::name);
    Chosen<Launch> chosen{std::move(choice), kernel->launch};
    known_.emplace(problem.key, chosen);
    return chosen;
  }

 private:
  // left_out: what failed already.
  Choice time(TunerProblem problem, const std::vector<Candidate>& candidates,
              std::vector<std::string> left_out);

  StartMeasuring start_measuring_;
  Libraries libraries_;
  std::map<std::string, std::any> known_;  // the Chosen of each problem
};

}  // namespace dfengine::cuda
