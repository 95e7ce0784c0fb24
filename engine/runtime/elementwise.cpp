// What keeps the shape: image_normalize, activation, residual_add, dropout.
#include "engine/runtime/kernels.h"
#include "kernels/activation.h"
#include "kernels/base/error.h"
#include "kernels/dropout.h"
#include "kernels/image_normalize.h"
#include "kernels/residual_add.h"

namespace dfengine {
namespace {

// The queue that a kernel is given tells which it is.
using cpu::activation_backward, cuda::activation_backward;
using cpu::activation_forward, cuda::activation_forward;
using cpu::dropout_backward, cuda::dropout_backward;
using cpu::dropout_forward, cuda::dropout_forward;
using cpu::image_normalize, cuda::image_normalize;
using cpu::residual_add, cuda::residual_add;
using cpu::residual_add_backward, cuda::residual_add_backward;

// Calls body(begin, count, first) for the runs of elements that lie in the batch as they do here;
// first: where in the batch the run begins.
template <class Body>
void for_runs(const StepContext& ctx, Index count, Body&& body) {
  if (ctx.part == nullptr) return body(Index{0}, count, Index{0});
  const Index each = count / ctx.part->n;
  Index begin = 0;
  for (const Slice& slice : ctx.part->slices) {
    if (slice.n > 0) body(begin, slice.n * each, slice.first * each);
    begin += slice.n * each;
  }
}

}  // namespace

template <class Target>
Kernel Kernels<Target>::operator()(const ImageNormalize& op) const {
  Kernel k;
  k.forward = [op, rows = query.out.shape.rows()](const StepContext& ctx, const ForwardIo& io) {
    image_normalize<T>(Target::queue(ctx), rows, op.mean.data(), op.std_dev.data(),
                       io.x[0].as<std::uint8_t>(), io.y.as<T>());
  };
  return k;
}

template <class Target>
Kernel Kernels<Target>::operator()(const Activate& op) const {
  const Index count = query.out.shape.count();
  Kernel k;
  if (query.backward) {
    k.needs.backward_needs_output = true;
    k.needs.dx_may_be_dy = true;
  }
  k.needs.overwrites_input = 0;
  k.forward = [op, count](const StepContext& ctx, const ForwardIo& io) {
    activation_forward<T>(Target::queue(ctx), op.activation, count, io.x[0].as<T>(), io.y.as<T>());
  };
  k.backward = [op, count](const StepContext& ctx, const BackwardIo& io) {
    if (!io.dx[0]) return;
    activation_backward<T>(Target::queue(ctx), op.activation, count, io.y.as<T>(), io.dy.as<T>(),
                           io.dx_write[0], io.dx[0].as<T>());
  };
  return k;
}

template <class Target>
Kernel Kernels<Target>::operator()(const Add&) const {
  const Index count = query.out.shape.count();
  Kernel k;
  k.needs.dx_may_be_dy = true;
  k.needs.overwrites_input = 0;
  k.forward = [count](const StepContext& ctx, const ForwardIo& io) {
    residual_add<T>(Target::queue(ctx), count, io.x[0].as<T>(), io.x[1].as<T>(), io.y.as<T>());
  };
  k.backward = [count](const StepContext& ctx, const BackwardIo& io) {
    for (std::size_t side = 0; side < 2; ++side)
      if (io.dx[side] && !stays_in_place(io, side))
        residual_add_backward<T>(Target::queue(ctx), count, io.dy.as<T>(), io.dx_write[side],
                                 io.dx[side].as<T>());
  };
  return k;
}

// The identity outside of training: then nothing is dropped, and nothing is drawn.
template <class Target>
Kernel Kernels<Target>::operator()(const Dropout& op) const {
  require_sum();
  const Index count = query.out.shape.count();
  const double rate = query.phase == Phase::Train ? op.rate : 0;
  Kernel k;
  k.needs.dx_may_be_dy = true;
  k.needs.overwrites_input = 0;
  k.forward = [rate, count](const StepContext& ctx, const ForwardIo& io) {
    const Sum* x = io.x[0].as<Sum>();
    if (rate > 0) {
      for_runs(ctx, count, [&](Index begin, Index n, Index first) {
        dropout_forward(Target::queue(ctx), n, rate, ctx.input, x + begin, io.y.as<Sum>() + begin,
                        first);
      });
    } else if (x != io.y.as<Sum>()) {
      residual_add_backward<Sum>(Target::queue(ctx), count, x, Write::Overwrite, io.y.as<Sum>());
    }
  };
  k.backward = [rate, count](const StepContext& ctx, const BackwardIo& io) {
    if (!io.dx[0]) return;
    if (rate > 0) {
      const Sum* dy = io.dy.as<Sum>();
      Sum* dx = io.dx[0].as<Sum>();
      for_runs(ctx, count, [&](Index begin, Index n, Index first) {
        dropout_backward(Target::queue(ctx), n, rate, ctx.input, dy + begin, io.dx_write[0],
                         dx + begin, first);
      });
    } else if (!stays_in_place(io, 0)) {
      residual_add_backward<Sum>(Target::queue(ctx), count, io.dy.as<Sum>(), io.dx_write[0],
                                 io.dx[0].as<Sum>());
    }
  };
  return k;
}

template <class Target>
void Kernels<Target>::require_sum() const {
  if (!std::is_same_v<T, Sum>)
    throw UsageError("layer " + node.name + " (" + kind(node.operation) + "): takes float");
}

#define DF_INSTANTIATE(Target)                                              \
  template Kernel Kernels<Target>::operator()(const ImageNormalize&) const; \
  template Kernel Kernels<Target>::operator()(const Activate&) const;       \
  template Kernel Kernels<Target>::operator()(const Add&) const;            \
  template Kernel Kernels<Target>::operator()(const Dropout&) const;        \
  template void Kernels<Target>::require_sum() const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
