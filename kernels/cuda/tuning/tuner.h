// Chooses kernels by their measured time, once per problem, when a plan is built.
#pragma once

#include <algorithm>
#include <any>
#include <map>
#include <optional>
#include <span>

#include "kernels/base/error.h"
#include "kernels/cuda/tuning/choice.h"
#include "kernels/cuda/tuning/deny_list.h"
#include "kernels/cuda/tuning/libraries.h"

namespace dfengine::cuda {

// A buffer of a problem. It is filled with random numbers of this type in [-1, 1] before anything
// is timed: zeros draw less power and run faster than data does.
struct Operand {
  StorageType type = StorageType::F32;
  Index count = 0;
  constexpr Index bytes() const { return count * bytes_of(type); }
};

struct TunerProblem {
  // Names operation, sizes, types and epilogue. Problems of one key have one answer: the name of a
  // kernel.
  std::string key;
  std::vector<Operand> operands;
  // The operand that is written, and may be read before. Each of its numbers adds up so many terms,
  // whose absolute values have at most this sum.
  std::size_t output = 0;
  double terms = 0, magnitude = 0;
  // Another operand that is written and compared, where a launch makes more than one. Its numbers
  // are floats that are made of numbers rounded to this type.
  struct Further {
    std::size_t operand = 0;
    StorageType rounded = StorageType::F32;
    double terms = 0, magnitude = 0;
  };
  std::optional<Further> further = {};
};

// A kernel as it is timed: it is launched on buffers laid out as the problem's operands.
using Candidate = Kernel<void(Stream, std::span<void* const> operands)>;
// The microseconds of one launch of a candidate, warm. The first call compares what it writes with
// the output of the first candidate that was measured. Throws DeviceError where it cannot run,
// computes something else or writes outside of its output and scratch; DeviceLost where nothing can
// run any more.
using Measure = std::function<double(const Candidate&)>;
// Makes the buffers of a problem. They live as long as the function that is returned.
using StartMeasuring = std::function<Measure(const TunerProblem&)>;

// Twice the second-level cache of the largest GPU so far: an H100 has 50 MB, a B200 126 MB.
inline constexpr Index kFarApart = Index{256} << 20;

// Times on the device, between events on this stream, which must not be capturing. far_apart: bytes
// between two uses of an operand, which shall not come from the cache.
StartMeasuring device_timing(Stream stream, Index far_apart = kFarApart);

class Tuner {
 public:
  template <class Launch>
  using Offer = std::function<std::vector<Kernel<Launch>>(Libraries&)>;
  // Makes of a launch one that takes its arguments from the problem's operands and, behind them,
  // scratch that is large enough for any candidate.
  template <class Launch>
  using OnOperands = std::function<std::function<void(Stream, std::span<void* const> operands)>(
      const std::function<Launch>&)>;

  // start is device_timing, or in tests made-up times. denied: kernels that are not tried.
  explicit Tuner(StartMeasuring start, DenyList denied = {})
      : start_measuring_(std::move(start)), denied_(std::move(denied)) {}

  // Chooses the fastest kernel by the median of a few rounds, and of equal ones the first. The
  // first kernel is the rule's. All names differ. offer asks a library for more kernels; it is
  // empty where no library has any. A kernel that throws DeviceError is left out, and the reason is
  // kept. Throws DeviceError with all reasons when no kernel is left, and DeviceLost where one
  // ended the context. Where the buffers do not fit into the memory of the device, the rule
  // chooses.
  template <class Launch>
  Chosen<Launch> choose(const TunerProblem& problem, std::vector<Kernel<Launch>> kernels,
                        const Offer<Launch>& offer, const OnOperands<Launch>& on_operands) {
    const auto of_name = [&](const std::string& name) {
      return std::ranges::find(kernels, name, &Kernel<Launch>::name);
    };
    if (const auto found = known_.find(problem.key); found != known_.end()) {
      const auto& [choice, offered] = found->second;
      // The caller's own, for it holds what the key does not name.
      if (const auto own = of_name(choice.name); own != kernels.end()) return {choice, own->launch};
      if (offered.has_value())
        return {choice, std::any_cast<const std::function<Launch>&>(offered)};
    }
    std::vector<std::string> left_out;
    std::vector<Kernel<Launch>> offered;
    if (offer) ask(problem.key, left_out, [&] { offered = offer(libraries_); });
    const std::size_t own = kernels.size();
    std::ranges::move(offered, std::back_inserter(kernels));
    std::vector<Candidate> candidates;
    for (const Kernel<Launch>& k : kernels)
      candidates.push_back({.name = k.name, .scratch = k.scratch, .launch = on_operands(k.launch)});
    Choice choice = time(problem, candidates, std::move(left_out));
    const auto kernel = of_name(choice.name);
    const bool is_offered = kernel - kernels.begin() >= static_cast<std::ptrdiff_t>(own);
    known_[problem.key] = {choice, is_offered ? std::any(kernel->launch) : std::any()};
    return {std::move(choice), kernel->launch};
  }

  // Whether `check` ends without a DeviceError, which tries kernels that are no candidates of a
  // problem. Asked once for each key; `failed` then has the key and the reason. Throws DeviceLost.
  bool passes(const std::string& key, const std::function<void()>& check);
  const std::vector<std::string>& failed() const { return failed_; }

 private:
  // Calls `library`, which asks one for kernels. Where it fails, left_out says so.
  void ask(const std::string& problem, std::vector<std::string>& left_out,
           const std::function<void()>& library);
  // left_out holds what failed already.
  Choice time(TunerProblem problem, const std::vector<Candidate>& candidates,
              std::vector<std::string> left_out);

  StartMeasuring start_measuring_;
  DenyList denied_;
  Libraries libraries_;
  struct Known {
    Choice choice;
    std::any offered;  // the launch, where a library offered it
  };
  std::map<std::string, Known> known_;  // of each key
  std::map<std::string, bool> checked_;
  std::vector<std::string> failed_;
};

}  // namespace dfengine::cuda
