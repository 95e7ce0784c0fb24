#include "tests/ptx/report.h"

#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>

namespace dfengine::ptx {
namespace {

long long count = 0;
constexpr std::size_t kShown = 100;

std::string source_of(const Warp& warp) {
  const auto& files = warp.block->kernel->module->files;
  const auto file = files.find(warp.now->file);
  if (file == files.end()) return std::string(warp.block->kernel->module->name) + ".ptx";
  return std::filesystem::path(file->second).lexically_normal().string() + ":" +
         std::to_string(warp.now->line);
}

}  // namespace

void report(const Warp& warp, const char* fault, const std::string& detail) {
  static std::mutex mutex;
  static std::set<std::pair<const Instruction*, std::string>> seen;
  const std::lock_guard lock(mutex);
  ++count;
  if (seen.size() >= kShown || !seen.insert({warp.now, fault}).second) return;
  const Extent& block = warp.block->index;
  std::fprintf(stderr, "ptx: FAULT: %s%s%s\n  %s: `%s`, block %u,%u, warp %d of %s\n", fault,
               detail.empty() ? "" : ": ", detail.c_str(), source_of(warp).c_str(),
               std::string(warp.now->text).c_str(), block.x, block.y, warp.index,
               readable(warp.block->kernel->name).c_str());
}

void report(const std::string& fault) {
  ++count;
  std::fprintf(stderr, "ptx: FAULT: %s\n", fault.c_str());
}

long long faults() {
  return count;
}

void stop(const std::string& reason) {
  std::fprintf(stderr, "ptx: cannot go on: %s\n", reason.c_str());
  std::abort();
}

std::string readable(std::string_view mangled) {
  int status = 0;
  char* const name = abi::__cxa_demangle(std::string(mangled).c_str(), nullptr, nullptr, &status);
  if (name == nullptr) return std::string(mangled);
  std::string text = name;
  std::free(name);
  for (const char* part : {"dfengine::cuda::", "(anonymous namespace)::", "void "})
    for (std::size_t at; (at = text.find(part)) != text.npos;)
      text.erase(at, std::string_view(part).size());
  return text.substr(0, text.find('('));
}

}  // namespace dfengine::ptx
