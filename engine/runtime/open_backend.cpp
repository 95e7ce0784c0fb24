#include "engine/runtime/open_backend.h"

#include "kernels/base/error.h"

namespace dfengine {

std::unique_ptr<Backend> open_backend(DeviceKind kind, const DeviceConfig& config, ThreadPool& pool,
                                      [[maybe_unused]] int number) {
#if DFENGINE_CPU_ONLY
  static_cast<void>(config);
  if (kind == DeviceKind::Cuda)
    throw DeviceError(
        "this build computes on the CPU alone: DFENGINE_MINIMAL without DFENGINE_CUDA");
#else
  if (kind == DeviceKind::Cuda) return std::make_unique<CudaBackend>(config, number);
#endif
  return std::make_unique<CpuBackend>(
      pool, config.precision == Precision::Bf16 ? Element::BF16 : Element::F32);
}

}  // namespace dfengine
