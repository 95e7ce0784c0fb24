// Which instruction set the vectorised float kernels use, chosen once per process.
//
// Every file in kernels/cpu/simd/ is compiled once per instruction set with DF_ISA naming it. Each
// defines one table of function pointers in namespace dfengine::cpu::DF_ISA; DF_ISA_TABLE declares
// the three tables and a function that returns the one in use.
#pragma once

#include <string_view>

namespace dfengine::cpu {

enum class Isa { Baseline, Avx2, Avx512 };

const char* isa_name(Isa isa);

// True when both this machine and this build can run it.
bool isa_supported(Isa isa);

// The one in use: the best supported, or the one named by the environment variable DFENGINE_ISA
// (baseline, avx2, avx512), or the last set_isa(). An unknown or unsupported name throws
// UsageError.
Isa current_isa();

// For tests and benchmarks: switches every later kernel call. Not while kernels run.
void set_isa(Isa isa);

}  // namespace dfengine::cpu

#if DF_X86_ISAS
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
    switch (current_isa()) {             \
      case Isa::Avx512:                  \
        return avx512::name;             \
      case Isa::Avx2:                    \
        return avx2::name;               \
      case Isa::Baseline:                \
        break;                           \
    }                                    \
    return baseline::name;               \
  }
#else
#define DF_ISA_TABLE(Table, name)        \
  namespace baseline {                   \
  extern const Table name;               \
  }                                      \
  inline const Table& current_##name() { \
    return baseline::name;               \
  }
#endif
