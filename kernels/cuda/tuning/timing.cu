// How long a launch takes on the device, and whether it computes what it should.
#include <map>
#include <memory>

#include "kernels/base/error.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/difference.h"
#include "kernels/cuda/tuning/problem_memory.h"
#include "kernels/cuda/tuning/tuner.h"

namespace dfengine::cuda {
namespace {

constexpr Index kLaunches = 8;

// An operand that candidates are compared by.
struct Output {
  std::string name;
  std::size_t place;
  Operand operand;
  Closeness close;
  DeviceMemory expected;  // what the first candidate that can be used made of it
};

std::vector<Output> outputs_of(const TunerProblem& problem) {
  std::vector<Output> all;
  const auto add = [&](const char* name, std::size_t place, const Closeness& close) {
    const Operand& operand = problem.operands[place];
    all.push_back({name, place, operand, close, allocate_device(operand.bytes())});
  };
  add("y", problem.output,
      Closeness::of(problem.operands[problem.output].type, problem.terms, problem.magnitude));
  if (const auto& further = problem.further)
    add("its further result", further->operand,
        Closeness::of(further->rounded, further->terms, further->magnitude));
  return all;
}

// Each launch finds its own operands, and finds them in memory rather than in the cache, as in a
// step of a large batch.
class TimedProblem {
 public:
  TimedProblem(Stream stream, const TunerProblem& problem, Index far_apart)
      : stream_(stream),
        memory_(stream, problem, far_apart, kLaunches),
        outputs_(outputs_of(problem)),
        comparison_(stream),
        far_apart_(far_apart) {
    if (memory_.sets() > 1) flushed_ = allocate_device(far_apart);
  }

  double measure(const Candidate& candidate) try {
    const OwnedGraph& graph = recorded(candidate);
    const OwnedEvent from = make_event(), to = make_event();
    flush();
    record(from, stream_);
    run(graph, stream_);
    record(to, stream_);
    synchronize(to);
    return 1e3 * static_cast<double>(elapsed_ms(from, to)) / kLaunches;
  } catch (const DeviceError& e) {
    if (!answers()) throw DeviceLost(e.what());
    throw;
  }

 private:
  // After a launch that read or wrote where it must not, every call fails.
  bool answers() const {
    try {
      synchronize(stream_);
      return true;
    } catch (const DeviceError&) {
      return false;
    }
  }

  void flush() {
    auto* const half = static_cast<std::byte*>(flushed_.get());
    if (half != nullptr) copy_on_device(stream_, half + far_apart_ / 2, half, far_apart_ / 2);
  }

  // The launches are a graph, because the host takes longer to launch a small kernel than the
  // device takes to run it.
  const OwnedGraph& recorded(const Candidate& candidate) {
    if (const auto found = graphs_.find(candidate.name); found != graphs_.end())
      return found->second;
    verify(candidate);  // this loads the kernel, which a capture must not do
    OwnedGraph made = capture(stream_, [&] {
      for (Index i = 0; i < kLaunches; ++i)
        candidate.launch(stream_, memory_.operands(i % memory_.sets()));
    });
    run(made, stream_);  // the first run of a graph is slower
    synchronize(stream_);
    return graphs_[candidate.name] = std::move(made);
  }

  void verify(const Candidate& candidate) {
    memory_.prepare(candidate.scratch);
    candidate.launch(stream_, memory_.operands(0));
    synchronize(stream_);
    memory_.require_intact(candidate.scratch);
    const bool is_first = expected_name_.empty();
    for (const Output& output : outputs_) {
      const void* const got = memory_.operands(0)[output.place];
      if (is_first) copy_on_device(stream_, output.expected.get(), got, output.operand.bytes());
      // Of the first it is asked whether all its numbers are finite.
      const auto difference = comparison_.first_difference(
          output.operand.type, output.operand.count, got, output.expected.get(), output.close);
      if (difference)
        throw DeviceError(
            (is_first ? "computes what is not finite: " : "differs from " + expected_name_ + ": ") +
            output.name + *difference);
    }
    if (is_first) expected_name_ = candidate.name;
  }

  Stream stream_;
  ProblemMemory memory_;
  std::vector<Output> outputs_;
  DeviceMemory flushed_;
  std::string expected_name_;  // of the first candidate that can be used
  Comparison comparison_;
  Index far_apart_;
  std::map<std::string, OwnedGraph> graphs_;
};

}  // namespace

StartMeasuring device_timing(Stream stream, Index far_apart) {
  return [=](const TunerProblem& problem) -> Measure {
    const auto timed = std::make_shared<TimedProblem>(stream, problem, far_apart);
    return [timed](const Candidate& candidate) { return timed->measure(candidate); };
  };
}

}  // namespace dfengine::cuda
