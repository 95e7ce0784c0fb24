// Which instruction set the vectorised float kernels use, chosen once per process.
//
// Every file in kernels/cpu/simd/ is compiled once per instruction set with DF_ISA naming it. Each
// defines one table of function pointers in namespace dfengine::cpu::DF_ISA; DF_ISA_TABLE declares
// the tables and a function that returns the one in use. What AVX512-BF16 computes, with
// activations stored in bf16, is one set more: avx512bf16.
#pragma once

#include <type_traits>

#include "kernels/base/half.h"

namespace dfengine::cpu {

enum class Isa { Baseline, Avx2, Avx512 };

const char* isa_name(Isa isa);

// True when this machine and this build can both run it.
bool isa_supported(Isa isa);

// True when the instruction set in use is AVX-512 and the machine multiplies pairs of bf16.
bool bf16_supported();
// Throws UsageError where it is false.
void require_bf16();

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

#if DF_X86_ISAS
#define DF_BF16_TABLE(Table, name)   \
  namespace avx512bf16 {             \
  extern const Table<BFloat16> name; \
  }
#else
// Nothing calls it: require_bf16() throws.
#define DF_BF16_TABLE(Table, name)        \
  namespace avx512bf16 {                  \
  inline const Table<BFloat16> name = {}; \
  }
#endif

// Of float kernels alone.
#define DF_FLOAT_ISA_TABLE(Table, name)  \
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

// Of kernels that exist for float and bf16: current_NAME<T>().
#define DF_ISA_TABLE(Table, name)                \
  namespace baseline {                           \
  extern const Table<float> name;                \
  }                                              \
  namespace avx2 {                               \
  extern const Table<float> name;                \
  }                                              \
  namespace avx512 {                             \
  extern const Table<float> name;                \
  }                                              \
  DF_BF16_TABLE(Table, name)                     \
  template <class T>                             \
  const Table<T>& current_##name() {             \
    if constexpr (std::is_same_v<T, BFloat16>) { \
      require_bf16();                            \
      return avx512bf16::name;                   \
    } else {                                     \
      return DF_ISA_CHOICE(name);                \
    }                                            \
  }
