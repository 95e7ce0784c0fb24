// How long a launch takes on the device.
#include <algorithm>
#include <memory>

#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/tuner.h"

namespace dfengine::cuda {
namespace {

// Twice the second-level cache of the largest GPU so far: an H100 has 50 MB, a B200 126 MB.
constexpr Index kFarApart = Index{256} << 20;
constexpr Index kLaunches = 8;
constexpr Index kAlignment = 256;

template <class T>
T stored(float x) {
  if constexpr (std::is_same_v<T, Half>) {
    return {float_to_f16(x)};
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return {float_to_bf16(x)};
  } else {
    return x;
  }
}

// Fills with the random numbers, over and over.
template <class T>
void fill_as(Stream stream, const std::vector<float>& random, Index count, void* to) {
  std::vector<T> values;
  for (float x : random) values.push_back(stored<T>(x));
  auto* const first = static_cast<T*>(to);
  auto done = std::min(count, static_cast<Index>(values.size()));
  upload(stream, first, values.data(), done * Index{sizeof(T)});
  for (; done < count; done *= 2)
    copy_on_device(stream, first + done, first, std::min(done, count - done) * Index{sizeof(T)});
  synchronize(stream);
}

void fill(Stream stream, const std::vector<float>& random, const Operand& operand, void* to) {
  switch (operand.type) {
    case StorageType::F16:
      return fill_as<Half>(stream, random, operand.count, to);
    case StorageType::BF16:
      return fill_as<BFloat16>(stream, random, operand.count, to);
    case StorageType::F32:
      return fill_as<float>(stream, random, operand.count, to);
  }
}

// A problem's operands several times over. Each launch finds its own set, and finds it in memory
// rather than in the cache, as in a step of a large batch.
class Session {
 public:
  Session(Stream stream, const TunerProblem& problem) : stream_(stream) {
    std::vector<Index> offsets;
    Index bytes = 0;
    for (const Operand& o : problem.operands) {
      offsets.push_back(bytes);
      bytes += round_up(o.bytes(), kAlignment);
    }
    const Index sets = std::clamp(kFarApart / bytes, Index{1}, kLaunches);
    memory_ = allocate_device(sets * bytes);
    if (sets > 1) flushed_ = allocate_device(kFarApart);
    std::vector<float> random(1 << 14);
    Random generator(1, RandomStream::Noise, 0);
    for (float& x : random) x = static_cast<float>(generator.uniform(-1, 1));
    for (Index set = 0; set < sets; ++set) {
      std::vector<void*> operands;
      for (std::size_t i = 0; i < offsets.size(); ++i) {
        operands.push_back(static_cast<std::byte*>(memory_.get()) + set * bytes + offsets[i]);
        fill(stream, random, problem.operands[i], operands.back());
      }
      sets_.push_back(std::move(operands));
    }
  }

  double measure(const Candidate& candidate) {
    const OwnedGraph& graph = recorded(candidate);
    const OwnedEvent from = make_event(), to = make_event();
    flush();
    record(from, stream_);
    run(graph, stream_);
    record(to, stream_);
    synchronize(to);
    return 1e3 * static_cast<double>(elapsed_ms(from, to)) / kLaunches;
  }

 private:
  void flush() {
    auto* const half = static_cast<std::byte*>(flushed_.get());
    if (half != nullptr) copy_on_device(stream_, half + kFarApart / 2, half, kFarApart / 2);
  }

  // The launches are a graph, because the host takes longer to launch a small kernel than the
  // device takes to run it.
  const OwnedGraph& recorded(const Candidate& candidate) {
    if (const auto found = graphs_.find(candidate.name); found != graphs_.end())
      return found->second;
    candidate.launch(stream_, sets_[0]);  // this loads the kernel, which a capture must not do
    synchronize(stream_);
    OwnedGraph made = capture(stream_, [&] {
      for (Index i = 0; i < kLaunches; ++i) candidate.launch(stream_, sets_[at(i) % sets_.size()]);
    });
    run(made, stream_);  // the first run of a graph is slower
    synchronize(stream_);
    return graphs_[candidate.name] = std::move(made);
  }

  Stream stream_;
  DeviceMemory memory_, flushed_;
  std::vector<std::vector<void*>> sets_;
  std::map<std::string, OwnedGraph> graphs_;
};

}  // namespace

StartMeasuring device_timing(Stream stream) {
  return [stream](const TunerProblem& problem) -> Measure {
    return [session = std::make_shared<Session>(stream, problem)](const Candidate& candidate) {
      return session->measure(candidate);
    };
  };
}

}  // namespace dfengine::cuda
