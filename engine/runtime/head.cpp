// What stands behind the convolutions: global average pool, dense, the loss.
#include <algorithm>

#include "engine/runtime/kernels.h"
#include "kernels/activation.h"
#include "kernels/bce_loss.h"
#include "kernels/bias.h"
#include "kernels/global_average_pool.h"
#include "kernels/pointwise_conv.h"
#include "kernels/quantized_conv.h"

namespace dfengine {
namespace {

// The queue that a kernel is given tells which it is.
using cpu::activation_backward, cuda::activation_backward;
using cpu::bce_backward, cuda::bce_backward;
using cpu::bce_forward, cuda::bce_forward;
using cpu::global_average_pool_backward, cuda::global_average_pool_backward;
using cpu::global_average_pool_forward, cuda::global_average_pool_forward;

// The gradient before the activation: dy itself where there is none, else in dz.
template <class Queue, class Sum>
const Sum* gradient_before(Queue queue, Activation activation, Index count, const BackwardIo& io,
                           Sum* dz) {
  if (activation == Activation::None) return io.dy.as<Sum>();
  activation_backward<Sum>(queue, activation, count, io.y.as<Sum>(), io.dy.as<Sum>(),
                           Write::Overwrite, dz);
  return dz;
}

// The CPU packs the weights: once for inference, in each training step anew.
template <class T>
Kernel cpu_dense(const Dense& op, const KernelQuery& query) {
  const auto p = PointwiseProblem::make(query.out.shape.n, op.in, op.out);
  const Index packed = cpu::pointwise_packed_count(p), outputs = query.out.shape.count();
  constexpr Index kSize = sizeof(T);
  Kernel k;
  if (!query.backward) {
    k.needs.prepared = packed * kSize;
    k.prepare = [p](std::span<const ConstPlace> params, Place prepared) {
      cpu::pointwise_pack(p, params[0].as<T>(), prepared.as<T>());
    };
  } else {
    // Gradient before the activation, packed weights, partial weight gradients.
    k.needs.forward_scratch = packed * kSize;
    k.needs.backward_scratch = (outputs + packed + cpu::pointwise_weight_scratch(p)) * kSize;
  }
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    const T* w = io.prepared.as<T>();
    if (w == nullptr) {
      cpu::pointwise_pack(p, io.params[0].as<T>(), io.scratch.as<T>());
      w = io.scratch.as<T>();
    }
    const Epilogue<T> epilogue{.bias = io.params[1].as<T>(), .activation = op.activation};
    cpu::pointwise_forward(ctx.queue.cpu(), p, io.x[0].as<T>(), w, epilogue, io.y.as<T>());
  };
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const cpu::Context queue = ctx.queue.cpu();
    T* dz = io.scratch.as<T>();
    T* w = dz + outputs;
    const T* g = gradient_before(queue, op.activation, outputs, io, dz);
    if (io.dparams[0])
      cpu::pointwise_backward_weight(queue, p, io.x[0].as<T>(), g, w + packed,
                                     io.dparams[0].as<T>());
    if (io.dparams[1]) cpu::bias_backward<T>(queue, p.m, p.k, g, io.dparams[1].as<T>());
    if (io.dx[0]) {
      cpu::pointwise_pack_transposed(p, io.params[0].as<T>(), w);
      cpu::pointwise_backward_data<T>(queue, p, g, w, io.dx_write[0], io.dx[0].as<T>());
    }
  };
  return k;
}

Kernel cuda_dense(const Dense& op, const KernelQuery& query) {
  const auto p = PointwiseProblem::make(query.out.shape.n, op.in, op.out);
  const Index outputs = query.out.shape.count();
  Kernel k;
  k.by_slice = true;  // few results are added up in another order
  // Gradient before the activation, then partial sums of weight and bias in turn.
  if (query.backward)
    k.needs.backward_scratch =
        (outputs + std::max(cuda::pointwise_weight_scratch(p), cuda::bias_scratch(p.m, p.k))) *
        kFloatBytes;
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    const Epilogue<float, float> epilogue{.bias = io.params[1].as<float>(),
                                          .activation = op.activation};
    cuda::pointwise_forward<float>(ctx.queue.stream, p, io.x[0].as<float>(),
                                   io.params[0].as<float>(), epilogue, io.y.as<float>());
  };
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const cuda::Stream queue = ctx.queue.stream;
    float* dz = io.scratch.as<float>();
    float* partial = dz + outputs;
    const float* g = gradient_before(queue, op.activation, outputs, io, dz);
    if (io.dparams[0])
      cuda::pointwise_backward_weight<float>(queue, p, io.x[0].as<float>(), g, partial,
                                             io.dparams[0].as<float>());
    if (io.dparams[1]) cuda::bias_backward(queue, p.m, p.k, g, partial, io.dparams[1].as<float>());
    if (io.dx[0])
      cuda::pointwise_backward_data<float>(queue, p, g, io.params[0].as<float>(), io.dx_write[0],
                                           io.dx[0].as<float>());
  };
  return k;
}

// Of a slice: its loss, and how many answers are right at probability 0.5.
template <class T>
void loss_sums(cpu::Context queue, Index n, const T* logits, const T* targets, double* sums,
               const BceWeights& weights) {
  T loss = 0;
  cpu::bce_forward(queue, n, logits, targets, &loss, weights);
  sums[0] = double{loss} * static_cast<double>(n);
  sums[1] = static_cast<double>(cpu::count_right(n, logits, targets));
}
void loss_sums(cuda::Stream queue, Index n, const float* logits, const float* targets, double* sums,
               const BceWeights& weights) {
  cuda::bce_sums(queue, n, logits, targets, sums, weights);
}

}  // namespace

template <class Target>
Kernel Kernels<Target>::operator()(const GlobalAveragePool&) const {
  const Shape in = query.in[0].shape;
  Kernel k;
  if (query.in[0].element == Element::U8) {
    if (Target::kOnDevice || query.backward)
      throw UsageError("layer " + node.name +
                       ": quantized numbers have no gradient, and are averaged on the CPU alone");
    k.forward = [in, scale = query.in[0].quantization.scale](const StepContext& ctx,
                                                             const ForwardIo& io) {
      cpu::quantized_average_pool(ctx.queue.cpu(), in, io.x[0].as<std::uint8_t>(), scale,
                                  io.y.as<float>());
    };
    return k;
  }
  k.forward = [in](const StepContext& ctx, const ForwardIo& io) {
    global_average_pool_forward<T>(Target::queue(ctx), in, io.x[0].as<T>(), io.y.as<Sum>());
  };
  k.backward = [in](const StepContext& ctx, const BackwardIo& io) {
    if (io.dx[0])
      global_average_pool_backward<T>(Target::queue(ctx), in, io.dy.as<Sum>(), io.dx_write[0],
                                      io.dx[0].as<T>());
  };
  return k;
}

template <class Target>
Kernel Kernels<Target>::operator()(const Dense& op) const {
  require_sum();
  Kernel k;
  if constexpr (Target::kOnDevice) {
    k = cuda_dense(op, query);
  } else {
    k = cpu_dense<Sum>(op, query);
  }
  if (query.backward) {
    k.needs.backward_needs_input = true;
    k.needs.backward_needs_output = op.activation != Activation::None;
  }
  return k;
}

template <class Target>
Kernel Kernels<Target>::operator()(const BceLoss& op) const {
  require_sum();
  const Index n = query.in[0].shape.n;
  const BceWeights weights{op.real_weight, op.fake_weight};
  Kernel k;
  if (query.sliced) {
    k.sums = kLossSums;
    k.forward_sums = [n, weights](const StepContext& ctx, const ForwardIo& io, double* sums) {
      loss_sums(Target::queue(ctx), n, io.x[0].as<Sum>(), io.x[1].as<Sum>(), sums, weights);
    };
  }
  k.needs.backward_needs_input = true;
  k.needs.dx_overwrites = true;
  k.needs.starts_backward = true;
  k.forward = [n, weights](const StepContext& ctx, const ForwardIo& io) {
    bce_forward(Target::queue(ctx), n, io.x[0].as<Sum>(), io.x[1].as<Sum>(), io.y.as<Sum>(),
                weights);
  };
  k.backward = [n, weights](const StepContext& ctx, const BackwardIo& io) {
    if (!io.dx[0]) return;
    bce_backward(Target::queue(ctx), n, io.x[0].as<Sum>(), io.x[1].as<Sum>(), ctx.scalars,
                 io.dx[0].as<Sum>(), weights, ctx.part != nullptr ? ctx.part->whole : n);
  };
  return k;
}

#define DF_INSTANTIATE(Target)                                                 \
  template Kernel Kernels<Target>::operator()(const GlobalAveragePool&) const; \
  template Kernel Kernels<Target>::operator()(const Dense&) const;             \
  template Kernel Kernels<Target>::operator()(const BceLoss&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
