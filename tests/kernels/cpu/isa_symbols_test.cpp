// No function of the AVX2 or AVX-512 objects may replace one that every machine runs: the linker
// keeps one copy of a weak symbol for the whole program, so each weak symbol there must belong to
// that instruction set's own namespace (or be a template over something of it).
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/support/places.h"

namespace {

// Lines that `nm` prints for all objects in a folder of the build; empty when it cannot run.
std::vector<std::string> symbols(const std::string& folder) {
  std::vector<std::string> lines;
  const std::string command = "find '" + folder + "' -name '*.o' -exec nm -C {} +";
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return lines;
  std::array<char, 8192> buffer;
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr)
    lines.emplace_back(buffer.data());
  if (pclose(pipe) != 0) lines.clear();
  return lines;
}

// Weak definitions: W and V, and u (unique global). Lower-case w and v are undefined references.
bool weak_definition(const std::string& line) {
  return line.find(" W ") == 16 || line.find(" V ") == 16 || line.find(" u ") == 16;
}

class IsaSymbols : public testing::TestWithParam<const char*> {};

TEST_P(IsaSymbols, WeakSymbolsStayInTheirNamespace) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers add symbols of their own";
#endif
  const std::string isa = GetParam();
  const auto lines = symbols(
      (dfengine::test::build_folder() / "CMakeFiles" / ("dfengine_simd_" + isa + ".dir")).string());
  if (lines.empty()) GTEST_SKIP() << "no objects for " << isa << " here, or no nm";
  int tables = 0;
  for (const std::string& line : lines) {
    const bool own = line.find("dfengine::cpu::" + isa + "::") != std::string::npos;
    if (own && line.find("_table") != std::string::npos) ++tables;
    if (weak_definition(line)) {
      EXPECT_TRUE(own) << line;
    }
  }
  EXPECT_GT(tables, 0) << "the objects define no table: is this the right folder?";
}

INSTANTIATE_TEST_SUITE_P(All, IsaSymbols,
                         testing::Values("avx2", "avx512", "avx512bf16", "avx512vnni"));

}  // namespace
