#include "engine/runtime/device.h"

#include "kernels/base/error.h"
#include "kernels/cuda/context.h"

namespace dfengine {

Precision parse_precision(const std::string& name) {
  for (Precision p : {Precision::Fp16, Precision::Bf16, Precision::Fp32})
    if (name == name_of(p)) return p;
  throw UsageError("precision " + name + ": must be fp16, bf16 or fp32");
}

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::Fp16:
      return "fp16";
    case Precision::Bf16:
      return "bf16";
    case Precision::Fp32:
      break;
  }
  return "fp32";
}

Element element_of(Precision precision) {
  switch (precision) {
    case Precision::Fp16:
      return Element::F16;
    case Precision::Bf16:
      return Element::BF16;
    case Precision::Fp32:
      break;
  }
  return Element::F32;
}

Device::Device(const DeviceConfig& config) : config_(config) {
  if (!cuda::is_emulated()) cuda::device_summary();  // says what is missing, if anything is
  compute_ = cuda::make_stream();
  copy_ = cuda::make_stream();
  // The stand-in's times would say nothing about a device.
  if (!config.deterministic && !cuda::is_emulated())
    tuner_ = std::make_unique<cuda::Tuner>(cuda::device_timing(compute_.get()));
}

}  // namespace dfengine
