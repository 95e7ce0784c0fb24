#include "engine/bench/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "kernels/base/memory.h"

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

Timing time_on_device(const Device& device, const TimingOptions& options,
                      const RepeatedWork& work) {
  const cuda::OwnedEvent begin = cuda::make_event(), end = cuda::make_event();
  return measure(options, work, [&](Index repeats) {
    cuda::record(begin, device.compute());
    work(repeats);
    cuda::record(end, device.compute());
    cuda::synchronize(end);
    return static_cast<double>(cuda::elapsed_ms(begin, end));
  });
}

double copy_rate(ThreadPool& pool, Index bytes, int rounds) {
  const Memory from(bytes), to(bytes);
  // Fresh pages that were never written share one page of zeros.
  std::memset(from.data(), 1, static_cast<std::size_t>(bytes));
  const Index part = (bytes + pool.size() - 1) / pool.size();
  const auto copy = [&](Index repeats) {
    while (repeats-- > 0)
      parallel_for(pool, pool.size(), [&](Index i, int) {
        const Index first = i * part, count = std::min(part, bytes - first);
        if (count > 0)
          std::memcpy(to.data() + first, from.data() + first, static_cast<std::size_t>(count));
      });
  };
  return gigabytes_per_second(bytes, time_on_host({.rounds = rounds}, copy));
}

double copy_rate(const Device& device, Index bytes, int rounds) {
  const cuda::DeviceMemory from = cuda::allocate_device(bytes), to = cuda::allocate_device(bytes);
  const auto copy = [&](Index repeats) {
    while (repeats-- > 0) cuda::copy_on_device(device.compute(), to.get(), from.get(), bytes);
  };
  return gigabytes_per_second(bytes, time_on_device(device, {.rounds = rounds}, copy));
}

}  // namespace dfengine
