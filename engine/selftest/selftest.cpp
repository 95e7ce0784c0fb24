#include "engine/selftest/selftest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "engine/bench/timing.h"
#include "engine/report/environment.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/selftest/candidates.h"
#include "engine/selftest/layer_case.h"
#include "engine/selftest/network_check.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr Index kPictures = 2;
constexpr int kTrainingSteps = 3;

std::string name_of_device(const Backend& backend) {
  if (backend.kind() == DeviceKind::Cuda)
    return cuda::is_emulated() ? "the stand-in for a GPU" : cuda::device_identity();
  return report::processor();
}

// The clock of the fastest core.
cuda::DeviceClock clock_of_processor() {
  cuda::DeviceClock clock;
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with("cpu MHz"))
      clock.mhz =
          std::max(clock.mhz, static_cast<unsigned>(std::atof(line.c_str() + line.find(':') + 1)));
  return clock;
}

class Selftest {
 public:
  Selftest(const Backend& backend, ThreadPool& pool, const SelftestOptions& options,
           const std::function<void(const SelftestCheck&)>& each)
      : backend_(backend),
        pool_(pool),
        options_(options),
        each_(each),
        denied_(on_device() && cuda::available() ? denied_kernels() : cuda::DenyList()) {}

  SelftestReport run() {
    report_.device = name_of_device(backend_);
    check_layers();
    if (!lost_) check_network();
    if (!lost_ && options_.thorough) measure();
    return std::move(report_);
  }

 private:
  bool on_device() const { return backend_.kind() == DeviceKind::Cuda; }

  // The n-th kernel of each choice.
  const KernelMaker& maker(std::size_t n) {
    if (!on_device()) return backend_;
    return candidates_.maker(n);
  }

  void check_layers() {
    const CpuBackend doubles(pool_, Element::F64);
    for (const LayerCase& layer :
         layer_cases(make_network(options_.network), kPictures, backend_, maker(0))) {
      if (lost_) return;
      timed(layer.text, [&](SelftestCheck& check) { check_layer(layer, doubles, check); });
    }
  }

  void check_layer(const LayerCase& layer, const Backend& doubles, SelftestCheck& check) {
    LayerCheck run(layer, backend_, doubles, options_.thorough ? 3 : 1);
    LaunchNames names = launch_names(run.names(maker(0)));
    check.kernels = 0;
    for (std::size_t n = 0; !lost_; ++n) {
      ++check.kernels;
      const std::string kernels = fmt::format("{}", fmt::join(names, ", "));
      attempt(check, kernels, [&] {
        const LayerCheck::Outcome outcome = outcome_of(run, maker(n), layer.text + ", " + kernels);
        check.error = std::max(check.error, outcome.error);
        if (!outcome.failure.empty())
          check.failures.push_back(names[outcome.launch] + ": " + outcome.failure);
      });
      if (!options_.thorough || !on_device()) return;
      const LaunchNames next = launch_names(run.names(maker(n + 1)));
      if (next == names) return;
      names = next;
    }
  }

  // Kernels that end the process are known to the next one.
  LayerCheck::Outcome outcome_of(LayerCheck& run, const KernelMaker& by, const std::string& what) {
    LayerCheck::Outcome outcome;
    denied_.attempt(what, [&] {
      try {
        outcome = run.run(by);
      } catch (const DeviceError& e) {
        if (!answers()) throw cuda::DeviceLost(e.what());
        throw;
      }
    });
    return outcome;
  }

  // What body throws is a failure, but for what says nothing about the device.
  void attempt(SelftestCheck& check, const std::string& kernels,
               const std::function<void()>& body) {
    try {
      body();
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error& e) {
      check.failures.push_back(kernels + ": " + e.what());
      lost_ = !answers();
    }
  }

  void check_network() {
    // What the threads of the pool compute is compared with what one does.
    ThreadPool one(1);
    const CpuBackend cpu(on_device() ? pool_ : one);
    const Model model = model_for_checks(options_.network, cpu);
    check_whole("inference of the whole network",
                [&] { return check_inference(model, backend_, cpu); });
    check_whole(fmt::format("{} training steps", kTrainingSteps),
                [&] { return check_training(model, backend_, cpu, kTrainingSteps); });
  }

  void check_whole(const std::string& what, const std::function<NetworkOutcome()>& outcome_of) {
    if (lost_) return;
    timed(what, [&](SelftestCheck& check) {
      const std::string kernels = "kernels as a run chooses them";
      attempt(check, kernels, [&] {
        const NetworkOutcome outcome = outcome_of();
        check.error = outcome.error;
        if (!outcome.failure.empty()) check.failures.push_back(kernels + ": " + outcome.failure);
      });
    });
  }

  void measure() {
    constexpr int kRounds = 3;
    const Index bytes = bytes_beyond_caches(backend_);
    timed(fmt::format("copying {} MiB", bytes >> 20), [&](SelftestCheck& check) {
      attempt(check, "copies", [&] {
        report_.copy_gigabytes_per_second = copy_rate(backend_, bytes, kRounds);
        report_.clock = on_device() ? cuda::device_clock() : clock_of_processor();
      });
    });
  }

  void timed(const std::string& what, const std::function<void(SelftestCheck&)>& body) {
    SelftestCheck check{.what = what};
    const auto begin = std::chrono::steady_clock::now();
    body(check);
    check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (each_) each_(check);
    report_.checks.push_back(std::move(check));
  }

  // After a kernel that read or wrote where it must not, every call fails.
  bool answers() const {
    try {
      backend_.synchronize();
      return true;
    } catch (const DeviceError&) {
      return false;
    }
  }

  const Backend& backend_;
  ThreadPool& pool_;
  SelftestOptions options_;
  const std::function<void(const SelftestCheck&)>& each_;
  Candidates candidates_;
  cuda::DenyList denied_;
  bool lost_ = false;
  SelftestReport report_;
};

}  // namespace

bool SelftestReport::passed() const {
  return std::ranges::all_of(checks, [](const SelftestCheck& c) { return c.failures.empty(); });
}

std::string SelftestReport::failure() const {
  for (const SelftestCheck& c : checks)
    if (!c.failures.empty()) return c.what + ": " + c.failures[0] + "; " + device;
  return "";
}

SelftestReport run_selftest(const Backend& backend, ThreadPool& pool,
                            const SelftestOptions& options,
                            const std::function<void(const SelftestCheck&)>& each) {
  return Selftest(backend, pool, options, each).run();
}

}  // namespace dfengine
