#include "engine/bench/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// ms(repeats) does the work and returns what it took.
template <class Milliseconds>
Timing measure(const TimingOptions& options, const RepeatedWork& work, Milliseconds&& ms) {
  if (options.rounds < 1) throw UsageError("bench: rounds must be at least 1");
  constexpr double kMostRepeats = 10000;
  work(1);
  const double once = std::max(ms(1), 1e-6);
  Timing t;
  t.rounds = options.rounds;
  t.repeats = static_cast<Index>(std::clamp(std::ceil(options.round_ms / once), 1.0, kMostRepeats));
  ms(t.repeats);
  std::vector<double> all;
  for (int round = 0; round < options.rounds; ++round)
    all.push_back(ms(t.repeats) / static_cast<double>(t.repeats));
  t.median_ms = median(all);
  t.fastest_ms = std::ranges::min(all);
  return t;
}

// Reads and writes every byte.
double gigabytes_per_second(Index bytes, const Timing& t) {
  return 2 * static_cast<double>(bytes) / (t.median_ms * 1e6);
}

}  // namespace

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Timing time_on_host(const TimingOptions& options, const RepeatedWork& work) {
  return measure(options, work, [&](Index repeats) {
    const auto begin = std::chrono::steady_clock::now();
    work(repeats);
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
        .count();
  });
}

Timing time_on(const Backend& backend, const TimingOptions& options, const RepeatedWork& work) {
  return measure(options, work,
                 [&](Index repeats) { return backend.milliseconds([&] { work(repeats); }); });
}

Index bytes_beyond_caches(const Backend& backend) {
  constexpr Index kHost = Index{64} << 20, kDevice = Index{256} << 20;
  return backend.kind() == DeviceKind::Cuda ? kDevice : kHost;
}

double copy_rate(const Backend& backend, Index bytes, int rounds) {
  const OwnedMemory from = backend.allocate(bytes), to = backend.allocate(bytes);
  ThreadPool* pool = backend.queue().pool;
  // Fresh pages that were never written share one page of zeros.
  if (pool != nullptr) std::memset(from.get(), 1, at(bytes));
  const Index parts = pool != nullptr ? pool->size() : 1;
  const Index part = divide_up(bytes, parts);
  const auto copy = [&](Index i) {
    const Index first = i * part, count = std::min(part, bytes - first);
    backend.copy(to.get() + first, from.get() + first, std::max(count, Index{0}));
  };
  return gigabytes_per_second(bytes, time_on(backend, {.rounds = rounds}, [&](Index repeats) {
                                while (repeats-- > 0) {
                                  if (pool == nullptr) {
                                    copy(0);
                                  } else {
                                    parallel_for(*pool, parts, [&](Index i, int) { copy(i); });
                                  }
                                }
                              }));
}

}  // namespace dfengine
