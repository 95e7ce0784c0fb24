#include "engine/selftest/verdict.h"

#include <fstream>
#include <iterator>
#include <span>

#include "engine/runtime/program_id.h"
#include "engine/selftest/selftest.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/cache_folder.h"
#include "kernels/base/error.h"
#include "kernels/base/sha256.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/tuning/deny_list.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

// The first line of a file is its subject; the others are the verdict.
fs::path file_of(const fs::path& folder, const std::string& subject) {
  constexpr std::size_t kDigits = 16;
  return folder / (sha256_hex(std::as_bytes(std::span(subject))).substr(0, kDigits) + ".txt");
}

std::optional<Verdict> read(const fs::path& file, const std::string& subject) {
  std::ifstream stream(file, std::ios::binary);
  std::string first;
  if (!std::getline(stream, first) || first != subject) return std::nullopt;
  return Verdict(std::istreambuf_iterator<char>(stream), {});
}

}  // namespace

Verdict kept_verdict(const std::optional<fs::path>& folder,
                     const std::optional<std::string>& subject,
                     const std::function<Verdict()>& test) {
  if (!folder || !subject) return test();
  if (const auto known = read(file_of(*folder, *subject), *subject)) return *known;
  Verdict verdict;
  cuda::DenyList ended(*folder / "ended", [&] { return *subject; });
  try {
    ended.attempt("self-test", [&] { verdict = test(); });
  } catch (const DeviceError& e) {
    return e.what();
  }
  keep_verdict(folder, subject, verdict);
  return verdict;
}

void keep_verdict(const std::optional<fs::path>& folder, const std::optional<std::string>& subject,
                  const Verdict& verdict) {
  if (!folder || !subject) return;
  try {
    make_folder(*folder);
    write_text(file_of(*folder, *subject), *subject + "\n" + verdict);
  } catch (const Error&) {  // then the next start tests again
  }
}

std::optional<fs::path> verdict_folder() {
  const auto cache = cache_folder();
  return cache ? std::optional(*cache / "selftest") : std::nullopt;
}

std::optional<std::string> verdict_subject(Precision precision) {
  const std::string device = cuda::device_identity(), program = program_id();
  if (program.empty()) return std::nullopt;
  return device + "; " + name_of(precision) + "; program " + program;
}

Verdict tested_verdict(Precision precision, ThreadPool& pool) {
  const CudaBackend backend({.precision = precision, .deterministic = true});
  return run_selftest(backend, pool, {.thorough = false}).failure();
}

DeviceKind device_by(const Verdict& verdict, const std::function<void(const std::string&)>& tell) {
  if (verdict.empty()) return DeviceKind::Cuda;
  tell(
      "the CPU computes, because the GPU failed its self-test (dfengine selftest --device cuda): " +
      verdict);
  return DeviceKind::Cpu;
}

DeviceKind choose_device(Precision precision, ThreadPool& pool,
                         const std::function<void(const std::string&)>& tell) {
  if (!cuda::available()) return DeviceKind::Cpu;
  Verdict verdict;
  try {
    verdict = kept_verdict(verdict_folder(), verdict_subject(precision),
                           [&] { return tested_verdict(precision, pool); });
  } catch (const DeviceError& e) {  // it answers no longer
    verdict = e.what();
  }
  return device_by(verdict, tell);
}

}  // namespace dfengine
