// image_normalize, activation, residual_add and dropout on a CUDA device.
#include "layers/elementwise.h"

#include "kernels/activation.h"
#include "kernels/cuda/runtime.h"
#include "kernels/dropout.h"
#include "kernels/image_normalize.h"
#include "kernels/residual_add.h"

namespace dfengine {

void ImageNormalize::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(element_, [&](auto t) {
    using T = decltype(t);
    cuda::image_normalize<T>(ctx.stream, io.out.shape.rows(), mean_.data(), std_dev_.data(),
                             static_cast<const std::uint8_t*>(io.x[0]), static_cast<T*>(io.y));
  });
}

void ActivationLayer::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cuda::activation_forward<T>(ctx.stream, activation_, io.out.shape.count(),
                                static_cast<const T*>(io.x[0]), static_cast<T*>(io.y));
  });
}

void ActivationLayer::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cuda::activation_backward<T>(ctx.stream, activation_, io.out.shape.count(),
                                 static_cast<const T*>(io.y), static_cast<const T*>(io.dy),
                                 io.dx_write[0], static_cast<T*>(io.dx[0]));
  });
}

void ResidualAdd::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    cuda::residual_add<T>(ctx.stream, io.out.shape.count(), static_cast<const T*>(io.x[0]),
                          static_cast<const T*>(io.x[1]), static_cast<T*>(io.y));
  });
}

void ResidualAdd::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  with_device_element(io.out.element, [&](auto t) {
    using T = decltype(t);
    for (std::size_t side = 0; side < 2; ++side) {
      if (io.dx[side] == nullptr) continue;
      const bool done = io.dx[side] == io.dy && io.dx_write[side] == Write::Overwrite;
      if (done) continue;
      cuda::residual_add_backward<T>(ctx.stream, io.out.shape.count(), static_cast<const T*>(io.dy),
                                     io.dx_write[side], static_cast<T*>(io.dx[side]));
    }
  });
}

void Dropout::device_forward(const DeviceContext& ctx, const LayerIo& io) const {
  if (io.out.element != Element::F32) throw Error("layer " + name() + ": dropout is in float");
  const auto* x = static_cast<const float*>(io.x[0]);
  auto* y = static_cast<float*>(io.y);
  if (io.phase == Phase::Train) {
    cuda::dropout_forward(ctx.stream, io.out.shape.count(), rate_, ctx.scalars, x, y);
  } else if (x != y) {
    cuda::copy_on_device(ctx.stream, y, x, io.out.bytes());
  }
}

void Dropout::device_backward(const DeviceContext& ctx, const LayerIo& io) const {
  if (io.dx[0] == nullptr) return;
  cuda::dropout_backward(ctx.stream, io.out.shape.count(), rate_, ctx.scalars,
                         static_cast<const float*>(io.dy), io.dx_write[0],
                         static_cast<float*>(io.dx[0]));
}

}  // namespace dfengine
