// Which instruction set the vectorised float kernels use, chosen once per process.
//
// Every file in kernels/cpu/simd/ is compiled once per instruction set with DF_ISA naming it. Each
// defines one table of function pointers in namespace dfengine::cpu::DF_ISA; DF_ISA_TABLE declares
// the three tables and a function that returns the one in use.
#pragma once

namespace dfengine::cpu {

enum class Isa { Baseline, Avx2, Avx512 };

const char* isa_name(Isa isa);

// True when this machine and this build can both run it.
bool isa_supported(Isa isa);

// True when the instruction set in use is AVX-512 and the machine multiplies pairs of bf16.
bool bf16_supported();

// The instruction set in use. It is what set_isa() said last, otherwise what the environment
// variable DFENGINE_ISA names (baseline, avx2, avx512), otherwise the best that is supported.
// Throws UsageError for a name that is unknown or not supported.
Isa current_isa();

// For tests and benchmarks: switches every later kernel call. No kernel may run meanwhile.
void set_isa(Isa isa);

}  // namespace dfengine::cpu

#if DF_X86_ISAS
#define DF_ISA_CHOICE(name)                   \
  current_isa() == Isa::Avx512 ? avx512::name \
  : current_isa() == Isa::Avx2 ? avx2::name   \
                               : baseline::name
#else
#define DF_ISA_CHOICE(name) baseline::name
#endif

#define DF_ISA_TABLE(Table, name)        \
  namespace baseline {                   \
  extern const Table name;               \
  }                                      \
  namespace avx2 {                       \
  extern const Table name;               \
  }                                      \
  namespace avx512 {                     \
  extern const Table name;               \
  }                                      \
  inline const Table& current_##name() { \
    return DF_ISA_CHOICE(name);          \
  }
