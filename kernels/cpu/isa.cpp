#include "kernels/cpu/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>

#include "kernels/base/enum_names.h"

namespace dfengine::cpu {
namespace {

// The best comes first.
constexpr auto kNames = names_for<Isa>(
    "instruction set", {{"avx512", Isa::Avx512}, {"avx2", Isa::Avx2}, {"baseline", Isa::Baseline}});

Isa choose() {
  const char* asked = std::getenv("DFENGINE_ISA");
  if (asked == nullptr || *asked == '\0')
    return std::ranges::find_if(kNames.rows, isa_supported, &EnumName<Isa>::value)->value;
  const auto isa = kNames.find(asked);
  if (!isa)
    throw UsageError(std::string("DFENGINE_ISA=") + asked + ": not one of baseline, avx2, avx512");
  if (!isa_supported(*isa))
    throw UsageError(std::string("DFENGINE_ISA=") + asked + ": this machine cannot run it");
  return *isa;
}

std::atomic<int>& state() {
  static std::atomic<int> value{static_cast<int>(choose())};
  return value;
}

}  // namespace

const char* isa_name(Isa isa) {
  return kNames.name_of(isa);
}

bool isa_supported(Isa isa) {
#if DF_X86_ISAS
  switch (isa) {
    case Isa::Avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    case Isa::Avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::Baseline:
      break;
  }
#endif
  return isa == Isa::Baseline;
}

bool bf16_supported() {
#if DF_X86_ISAS
  return current_isa() == Isa::Avx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

void require_bf16() {
  if (!bf16_supported())
    throw UsageError("this CPU does not compute in bf16 (AVX512-BF16); use precision fp32");
}

Isa current_isa() {
  return static_cast<Isa>(state().load(std::memory_order_relaxed));
}

void set_isa(Isa isa) {
  if (!isa_supported(isa))
    throw UsageError(std::string("instruction set ") + isa_name(isa) + ": not supported here");
  state().store(static_cast<int>(isa), std::memory_order_relaxed);
}

}  // namespace dfengine::cpu
