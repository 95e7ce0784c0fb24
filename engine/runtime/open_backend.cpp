#include "engine/runtime/open_backend.h"

namespace dfengine {

std::unique_ptr<Backend> open_backend(DeviceKind kind, const DeviceConfig& config,
                                      ThreadPool& pool) {
  if (kind == DeviceKind::Cuda) return std::make_unique<CudaBackend>(config);
  return std::make_unique<CpuBackend>(
      pool, config.precision == Precision::Bf16 ? Element::BF16 : Element::F32);
}

}  // namespace dfengine
