#include "tests/ptx/program/modules.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unordered_map>

#include "tests/ptx/program/parser.h"
#include "tests/ptx/report.h"
#include "tests/ptx/settings.h"

namespace dfengine::ptx {
namespace {

// The toolkit's fatbinary_section.h gives the wrapper. What it points to has no published
// description: a header of 16 bytes and entries, each a header and a payload, as `fatbinary` of
// CUDA 12 and 13 writes.
struct Wrapper {
  std::int32_t magic, version;
  const std::byte* data;
  const void* more;
};
struct FatHeader {
  std::uint32_t magic;
  std::uint16_t version, header_bytes;
  std::uint64_t bytes;
};
struct FatEntry {
  std::uint16_t kind, version;
  std::uint32_t header_bytes;
  std::uint64_t payload_bytes;
};
constexpr std::uint32_t kFatMagic = 0xBA55ED50;
constexpr std::uint16_t kPtx = 1;

// Faults make this the program's exit status, whatever its tests say.
constexpr int kFaultStatus = 99;

struct Registry {
  std::vector<const void*> unread;
  // Kernels stay where they are: launches hold references.
  std::unordered_map<std::string, std::unique_ptr<Kernel>> kernels;
};

Registry& registry() {
  static Registry made;
  return made;
}

// The .cu file's among the sources of a module, or where no line of it is left the first header's.
std::string name_of(const Module& module) {
  for (const auto& [number, file] : module.files)
    if (file.ends_with(".cu")) return std::filesystem::path(file).stem();
  return module.files.empty() ? "unknown"
                              : std::filesystem::path(module.files.begin()->second).stem();
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void add_module(std::string text) {
  auto module = std::make_shared<Module>();
  module->text = std::move(text);
  std::vector<Kernel> kernels = kernels_of(module);
  if (kernels.empty()) return;
  module->name = name_of(*module);
  const std::string file = module->name + ".ptx";
  if (!settings().dump.empty())
    std::ofstream(std::filesystem::path(settings().dump) / file, std::ios::binary) << module->text;
  const auto replacement = std::filesystem::path(settings().replacements) / file;
  if (!settings().replacements.empty() && exists(replacement)) {
    std::fprintf(stderr, "ptx: %s is replaced\n", file.c_str());
    module->text = contents(replacement);
    module->files.clear();
    kernels = kernels_of(module);
  }
  for (Kernel& kernel : kernels) {
    const std::string name(kernel.name);
    registry().kernels[name] = std::make_unique<Kernel>(std::move(kernel));
  }
}

void read_fat_binary(const void* wrapper) {
  const std::byte* at = static_cast<const Wrapper*>(wrapper)->data;
  FatHeader header;
  std::memcpy(&header, at, sizeof header);
  if (header.magic != kFatMagic) stop("a fat binary of an unknown form");
  at += header.header_bytes;
  const std::byte* const end = at + header.bytes;
  while (at < end) {
    FatEntry entry;
    std::memcpy(&entry, at, sizeof entry);
    if (entry.kind == kPtx) {
      std::string text(reinterpret_cast<const char*>(at) + entry.header_bytes, entry.payload_bytes);
      text.resize(std::strlen(text.c_str()));  // it is padded
      if (text.find(".version") == text.npos) stop("PTX is compressed: nvcc needs --no-compress");
      add_module(std::move(text));
    }
    at += entry.header_bytes + entry.payload_bytes;
  }
}

void write_launches(std::FILE* file) {
  for (const auto& [name, kernel] : registry().kernels)
    std::fprintf(file, "%lld %lld %u %zu %zu %s\n", kernel->launches, kernel->instructions,
                 kernel->most_threads, kernel->least_shared, kernel->most_shared, name.c_str());
}

void write_traffic(std::FILE* file) {
  for (const auto& [name, kernel] : registry().kernels) {
    const Traffic& t = kernel->traffic;
    if (kernel->launches > 0)
      std::fprintf(file, "%lld %lld %lld %lld %lld %lld %lld %lld %lld %lld %u %zu %s\n",
                   kernel->launches, t.blocks, kernel->instructions, t.flops, t.waves,
                   t.least_waves, t.sectors_read, t.bytes_read, t.sectors_written, t.bytes_written,
                   kernel->most_threads, kernel->most_shared, name.c_str());
  }
}

void write_lines(std::FILE* file) {
  for (const auto& [name, kernel] : registry().kernels) {
    std::map<std::pair<std::string_view, int>, InstructionCount> lines;
    for (std::size_t i = 0; i < kernel->counts.size(); ++i) {
      const Instruction& instruction = kernel->code->instructions[i];
      const auto source = kernel->module->files.find(instruction.file);
      if (kernel->counts[i].times == 0 || source == kernel->module->files.end()) continue;
      InstructionCount& line = lines[{source->second, instruction.line}];
      line.times += kernel->counts[i].times;
      line.waves += kernel->counts[i].waves;
      line.least_waves += kernel->counts[i].least_waves;
    }
    for (const auto& [line, count] : lines)
      std::fprintf(file, "%lld %lld %lld %.*s:%d %s\n", count.times, count.waves, count.least_waves,
                   static_cast<int>(line.first.size()), line.first.data(), line.second,
                   name.c_str());
  }
}

void write_to(const std::string& path, const char* mode, void (*write)(std::FILE*)) {
  if (path.empty()) return;
  std::FILE* const file = std::fopen(path.c_str(), mode);
  if (file == nullptr) stop("cannot write " + path);
  write(file);
  std::fclose(file);
}

void sum_up() {
  long long launches = 0, instructions = 0, launched = 0;
  for (const auto& [name, kernel] : registry().kernels) {
    launches += kernel->launches;
    instructions += kernel->instructions;
    launched += kernel->launches > 0 ? 1 : 0;
  }
  std::fprintf(
      stderr,
      "ptx: %lld of %zu kernels launched %lld times, %.0f M warp instructions, %lld faults\n",
      launched, registry().kernels.size(), launches, 1e-6 * static_cast<double>(instructions),
      faults());
  write_to(settings().launches, "a", write_launches);
  write_to(settings().traffic, "w", write_traffic);
  write_to(settings().lines, "w", write_lines);
  std::fflush(nullptr);
  if (faults() > 0) _exit(kFaultStatus);
}

// Only when the first kernel is launched: `--gtest_list_tests` needs none.
void read_all() {
  if (registry().kernels.empty()) std::atexit(sum_up);
  for (const void* const wrapper : registry().unread) read_fat_binary(wrapper);
  registry().unread.clear();
  if (!settings().parses_all) return;
  for (auto& [name, kernel] : registry().kernels) kernel->code = parse(*kernel);
}

}  // namespace

void add_fat_binary(const void* wrapper) {
  registry().unread.push_back(wrapper);
}

Kernel& find_kernel(const std::string& name) {
  if (!registry().unread.empty()) read_all();
  const auto found = registry().kernels.find(name);
  if (found == registry().kernels.end()) stop("no PTX for " + readable(name));
  Kernel& kernel = *found->second;
  if (kernel.code == nullptr) kernel.code = parse(kernel);
  return kernel;
}

}  // namespace dfengine::ptx
