// A layer's run (engine/selftest/layer_run.h) on the targets of the test matrix.
#pragma once

#include "engine/runtime/cpu/cpu_backend.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "engine/selftest/layer_run.h"
#include "tests/support/backend_block.h"
#include "tests/support/targets.h"

namespace dfengine::test {

// The backend of a target of the test matrix, kernels by rule.
template <class Target>
const Backend& backend_of() {
  using T = typename Target::Value;
  if constexpr (Target::kOnDevice) {
    constexpr Precision precision = std::is_same_v<T, Half>       ? Precision::Fp16
                                    : std::is_same_v<T, BFloat16> ? Precision::Bf16
                                                                  : Precision::Fp32;
    static const CudaBackend backend(
        {.precision = precision, .graphs = false, .deterministic = true});
    return backend;
  } else {
    static ThreadPool one(1);
    static const CpuBackend backend(one, sizeof(T) == 8 ? Element::F64 : Element::F32);
    return backend;
  }
}

inline const Backend& oracle_backend() {
  return backend_of<Cpu<double>>();
}

}  // namespace dfengine::test
