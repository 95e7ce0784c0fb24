// The names of devices and precisions.
#pragma once

#include "engine/runtime/device.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

template <>
inline constexpr auto enum_names<DeviceKind> =
    names_for<DeviceKind>("device", {{"cpu", DeviceKind::Cpu}, {"cuda", DeviceKind::Cuda}});

template <>
inline constexpr auto enum_names<Precision> = names_for<Precision>(
    "precision", {{"fp16", Precision::Fp16}, {"bf16", Precision::Bf16}, {"fp32", Precision::Fp32}});

}  // namespace dfengine
