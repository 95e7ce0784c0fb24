// The self-test: passes where everything is right, and names what is not.
#include "engine/selftest/selftest.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "engine/selftest/candidates.h"
#include "engine/selftest/layer_case.h"
#include "kernels/base/error.h"
#include "kernels/cpu/isa.h"
#include "tests/engine/runtime/forwarding_backend.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

SelftestOptions small(bool thorough = true) {
  SelftestOptions options{.thorough = thorough};
  options.network.width = 0.1;
  options.network.hidden = 16;
  return options;
}

ThreadPool& pool() {
  static ThreadPool threads(2);
  return threads;
}

// The CPU, whose kernels `change` makes others of.
class Changed final : public ForwardingBackend {
 public:
  using Change = std::function<void(const Node&, Kernel&)>;
  explicit Changed(Change change) : ForwardingBackend(cpu()), change_(std::move(change)) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    Kernel kernel = ForwardingBackend::make(node, query);
    change_(node, kernel);
    return kernel;
  }

 private:
  static const Backend& cpu() {
    static const CpuBackend backend(pool());
    return backend;
  }
  Change change_;
};

bool is(const Node& node, const std::string& what) {
  return kind(node.operation) == what;
}

// What follows a forward call.
void then(Kernel& kernel, const std::function<void(const ForwardIo&)>& more) {
  kernel.forward = [before = kernel.forward, more](const StepContext& ctx, const ForwardIo& io) {
    before(ctx, io);
    more(io);
  };
}

// Fails, and the first failure says all of it.
SelftestReport expect_failure(const Backend& backend, std::initializer_list<const char*> parts) {
  SelftestReport report = run_selftest(backend, pool(), small(false));
  EXPECT_FALSE(report.passed());
  for (const char* part : parts)
    EXPECT_NE(report.failure().find(part), std::string::npos) << part << ": " << report.failure();
  return report;
}

TEST(Selftest, TheCpuPasses) {
  std::vector<std::string> told;
  const CpuBackend backend(pool());
  const SelftestReport report = run_selftest(
      backend, pool(), small(), [&](const SelftestCheck& c) { told.push_back(c.what); });
  EXPECT_TRUE(report.passed()) << report.failure();
  EXPECT_EQ(report.failure(), "");
  EXPECT_EQ(told.size(), report.checks.size());
  EXPECT_FALSE(report.device.empty());
  EXPECT_GT(report.copy_gigabytes_per_second, 0);
  for (const char* what :
       {"pointwise", "depthwise", "stem", "batch_norm+relu6", "residual_add", "dense", "bce_loss",
        "dropout", "image_normalize", "inference of the whole", "3 training steps"})
    EXPECT_TRUE(std::ranges::any_of(told, [&](const std::string& t) {
      return t.starts_with(what);
    })) << what;
}

// Every layer once: equal ones stand for one another, those of inference and training do not.
TEST(Selftest, TheCpuPassesInBFloat16) {
  if (!cpu::bf16_supported()) GTEST_SKIP() << "this CPU does not compute in bf16";
  const CpuBackend backend(pool(), Element::BF16);
  const SelftestReport report = run_selftest(backend, pool(), small());
  EXPECT_TRUE(report.passed()) << report.failure();
}

TEST(Selftest, NoLayerIsCheckedTwice) {
  const CpuBackend backend(pool());
  const SelftestReport report = run_selftest(backend, pool(), small(false));
  std::vector<std::string> all;
  for (const SelftestCheck& c : report.checks) all.push_back(c.what);
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
  EXPECT_EQ(report.copy_gigabytes_per_second, 0);
}

// One wrong number of one layer.
TEST(Selftest, AWrongNumberIsNamed) {
  const Changed backend([](const Node& node, Kernel& kernel) {
    if (is(node, "depthwise"))
      then(kernel, [](const ForwardIo& io) { io.y.as<float>()[5] += 0.01f; });
  });
  const SelftestReport report =
      expect_failure(backend, {"depthwise [2, 48, 48, 8] to ", ", training: own: y[5] is "});
  EXPECT_NE(report.failure().find(report.device), std::string::npos);
}

TEST(Selftest, AWrongGradientIsNamed) {
  const Changed backend([](const Node& node, Kernel& kernel) {
    if (!is(node, "pointwise") || !kernel.backward) return;
    kernel.backward = [before = kernel.backward](const StepContext& ctx, const BackwardIo& io) {
      before(ctx, io);
      if (io.dparams[0]) io.dparams[0].as<float>()[0] *= 1.01f;
    };
  });
  expect_failure(backend, {"pointwise ", "training: own: gradient of features.", "weight[0] is "});
}

TEST(Selftest, ANumberThatIsNeverWrittenIsFound) {
  const Changed backend([](const Node& node, Kernel& kernel) {
    if (is(node, "residual_add")) kernel.forward = [](const StepContext&, const ForwardIo&) {};
  });
  expect_failure(backend, {"residual_add ", "nan, not "});
}

TEST(Selftest, AWriteBesideATensorIsFound) {
  const Changed backend([](const Node& node, Kernel& kernel) {
    if (is(node, "batch_norm")) then(kernel, [](const ForwardIo& io) { io.y.as<float>()[-1] = 0; });
  });
  expect_failure(backend, {"batch_norm ", "memory before a tensor was written to"});
}

TEST(Selftest, AKernelThatFailsIsNamedAndTheOthersRun) {
  const Changed backend([](const Node& node, Kernel& kernel) {
    if (is(node, "global_average_pool"))
      kernel.forward = [](const StepContext&, const ForwardIo&) { throw DeviceError("too large"); };
  });
  const SelftestReport report = expect_failure(backend, {"global_average_pool ", ": too large"});
  EXPECT_EQ(std::ranges::count_if(report.checks,
                                  [](const SelftestCheck& c) {
                                    return c.failures.empty() && c.what.starts_with("dense");
                                  }) > 0,
            true);
}

// Such as that of a host which other programs fill: the device is as sound as before.
TEST(Selftest, LackOfMemoryIsNoVerdict) {
  const Changed backend([](const Node& node, Kernel& kernel) {
    if (is(node, "global_average_pool"))
      kernel.forward = [](const StepContext&, const ForwardIo&) { throw OutOfMemory("no room"); };
  });
  EXPECT_THROW(run_selftest(backend, pool(), small(false)), OutOfMemory);
}

// A device that answers no more: nothing is run after that.
class Lost final : public ForwardingBackend {
 public:
  explicit Lost(const Backend& to) : ForwardingBackend(to) {}
  Kernel make(const Node& node, const KernelQuery& query) const override {
    Kernel kernel = ForwardingBackend::make(node, query);
    if (is(node, "stem+bn+relu6"))
      kernel.forward = [this](const StepContext&, const ForwardIo&) {
        lost_ = true;
        throw DeviceError("illegal address");
      };
    return kernel;
  }
  void synchronize() const override {
    if (lost_) throw DeviceError("illegal address");
  }

 private:
  mutable bool lost_ = false;
};

TEST(Selftest, EndsWhenTheDeviceIsLost) {
  const CpuBackend cpu(pool());
  const SelftestReport report = expect_failure(Lost(cpu), {"stem+bn+relu6 ", "illegal address"});
  EXPECT_FALSE(report.checks.back().failures.empty());
}

// What no layer shows alone: an optimiser that moves by another rate.
class Hasty final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  std::function<void()> make_update(const Update& update) const override {
    Update other = update;
    other.adam.eps *= 1.1;
    return ForwardingBackend::make_update(other);
  }
};

TEST(Selftest, AWrongOptimiserIsFound) {
  const CpuBackend cpu(pool());
  expect_failure(Hasty(cpu), {"3 training steps: ", "the loss of step 1, ", " is allowed"});
}

// Layers of few rows, of inference and of training, with batch norms on load and without.
TEST(SelftestDevice, SmallLayersPassByTheFirstKernels) {
  DF_NEEDS_DEVICE();
  constexpr Index kMostRows = 3 * 3;
  const CudaBackend backend({.precision = Precision::Fp16, .deterministic = true});
  const CpuBackend doubles(pool(), Element::F64);
  Candidates candidates;
  std::set<std::string> kernels;
  for (const LayerCase& layer :
       layer_cases(make_network(small().network), 1, backend, candidates.maker(0))) {
    if (layer.in[0].shape.rows() > kMostRows) continue;
    LayerCheck check(layer, backend, doubles, 1);
    for (std::size_t n : {0, 1, 2}) {
      const LaunchNames names = launch_names(check.names(candidates.maker(n)));
      kernels.insert(names.begin(), names.end());
      EXPECT_EQ(check.run(candidates.maker(n)).failure, "") << layer.text << " " << names[0];
    }
  }
  EXPECT_GE(kernels.size(), 6u);
}

TEST(SelftestDevice, PassesByEveryKernel) {
  DF_NEEDS_DEVICE();
  if (cuda::is_emulated()) GTEST_SKIP() << "too slow in the stand-in for a GPU";
  const CudaBackend backend({.precision = Precision::Fp16});
  const SelftestReport report = run_selftest(backend, pool(), small());
  EXPECT_TRUE(report.passed()) << report.failure();
  EXPECT_TRUE(std::ranges::any_of(report.checks, [](const auto& c) { return c.kernels > 8; }));
}

}  // namespace
}  // namespace dfengine::test
