// dfengine selftest: whether this machine's CPU or GPU computes what it should.
#include "engine/selftest/selftest.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/commands.h"
#include "engine/selftest/verdict.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

struct Arguments {
  DeviceChoice device = DeviceChoice::Auto;
  std::optional<Precision> precision;
  int threads = 0;
  std::filesystem::path json;
};

void print_check(const SelftestCheck& check) {
  const bool passed = check.failures.empty();
  fmt::print("{:6} {}{}: error {:.3f} of what is allowed, {:.2f} s\n", passed ? "ok" : "FAILED",
             check.what, check.kernels > 1 ? fmt::format(", {} kernels", check.kernels) : "",
             check.error, check.seconds);
  for (const std::string& failure : check.failures) fmt::print("       {}\n", failure);
  std::fflush(stdout);
}

std::string rates(const SelftestReport& report) {
  const auto& clock = report.clock;
  std::string text = fmt::format("a copy moves {:.1f} GB/s", report.copy_gigabytes_per_second);
  if (clock.mhz > 0) text += fmt::format("; clock {} MHz", clock.mhz);
  if (clock.most_mhz > 0) text += fmt::format(" of {}", clock.most_mhz);
  return text;
}

nlohmann::json to_json(const SelftestReport& report) {
  nlohmann::json checks = nlohmann::json::array();
  for (const SelftestCheck& c : report.checks)
    checks.push_back({{"what", c.what},
                      {"kernels", c.kernels},
                      {"error", c.error},
                      {"seconds", c.seconds},
                      {"failures", c.failures}});
  return {{"engine_version", DFENGINE_VERSION},
          {"device", report.device},
          {"passed", report.passed()},
          {"checks", checks},
          {"copy_gigabytes_per_second", report.copy_gigabytes_per_second},
          {"clock_mhz", report.clock.mhz},
          {"most_clock_mhz", report.clock.most_mhz}};
}

void run_selftest_command(const Arguments& a) {
  if (!a.json.empty()) check_output(a.json, {});
  ThreadPool pool(ThreadPool::count_for(a.threads));
  const bool on_device =
      a.device == DeviceChoice::Cuda || (a.device == DeviceChoice::Auto && cuda::available());
  const Precision precision = a.precision.value_or(on_device ? Precision::Fp16 : Precision::Fp32);
  if (!on_device && precision == Precision::Fp16)
    throw UsageError("the CPU does not compute in fp16: use --precision fp32 or bf16");
  const std::unique_ptr<Backend> backend =
      open_backend(on_device ? DeviceKind::Cuda : DeviceKind::Cpu, {.precision = precision}, pool);
  const auto subject = on_device ? verdict_subject(precision) : std::nullopt;
  const SelftestReport report = run_selftest(*backend, pool, {}, print_check);
  fmt::print("       {}\n       {}\n", rates(report), report.device);
  // What --device auto goes by from now on.
  keep_verdict(verdict_folder(), subject, report.failure());
  if (!a.json.empty()) write_text(a.json, to_json(report).dump(2) + "\n");
  if (!report.passed()) throw Exit{ExitCode::Failed, report.failure()};
}

}  // namespace

void add_selftest(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "selftest", "Check that this machine's CPU or GPU computes what it should.",
      "In ten seconds or so it runs every layer of MobileNetV2, in training and inference and by "
      "every kernel that a GPU may choose for it, and compares the results with double precision; "
      "then the network's inference and three training steps, with the CPU's. An error is shown in "
      "shares of what rounding may cause. Ends with 1 where something computes another thing, and "
      "names the kernel, the shapes, the error and the device.",
      run_selftest_command);
  add_choice(
      command, "--device", a.device,
      "What is checked: cpu, cuda, or auto, which is the GPU where one answers and else the CPU.");
  add_choice(command, "--precision", a.precision, "The precision that is checked.")
      ->default_str("fp16 with cuda, fp32 on the CPU");
  add_threads(command, a.threads);
  command.add_option("--json", a.json, "File for the results as JSON.")
      ->default_str("none, the results are only printed");
}

}  // namespace dfengine
