// The three convolutions on the CPU. Prepared, in inference form: packed weights, then the bias.
#include <algorithm>

#include "engine/runtime/folding.h"
#include "engine/runtime/kernels.h"
#include "kernels/base/error.h"
#include "kernels/depthwise_conv.h"
#include "kernels/pointwise_conv.h"
#include "kernels/stem_conv.h"

namespace dfengine {
namespace {

// bias: behind so many elements of prepared weights.
template <class T>
Epilogue<T> epilogue(const Convolution& op, Index packed, const ForwardIo& io) {
  Epilogue<T> e;
  if (op.norm) e.bias = io.prepared.as<T>() + packed;
  e.activation = op.activation;
  if (op.residual) e.residual = io.x[1].as<T>();
  return e;
}

// Weights that lie as the parameter does, whose kernel packs nothing.
template <class T>
void prepare_unpacked(const Convolution& op, std::span<const ConstPlace> params, Place prepared) {
  const FoldedWeights<T> folded = fold<T>(op, params);
  std::ranges::copy(folded.bias, std::ranges::copy(folded.weights, prepared.as<T>()).out);
}

}  // namespace

template <class T>
Kernel cpu_pointwise(const ConvolutionQuery& q) {
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = PointwiseProblem::make(query.out.shape.rows(), op.in, op.out);
  const Index packed = cpu::pointwise_packed_count(p);
  Kernel k;
  if (!query.backward) {
    k.needs.prepared = (packed + op.out) * Index{sizeof(T)};
    if (op.residual) k.needs.overwrites_input = 1;
    k.prepare = [=](std::span<const ConstPlace> params, Place prepared) {
      const FoldedWeights<T> folded = fold<T>(op, params);
      cpu::pointwise_pack(p, folded.weights.data(), prepared.as<T>());
      std::ranges::copy(folded.bias, prepared.as<T>() + packed);
    };
    k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
      cpu::pointwise_forward(ctx.queue.cpu(), p, io.x[0].as<T>(), io.prepared.as<T>(),
                             epilogue<T>(op, packed, io), io.y.as<T>());
    };
    return k;
  }
  // Packed weights for the data gradient, then the partial weight gradients.
  k.needs = {.forward_scratch = packed * Index{sizeof(T)},
             .backward_scratch = (packed + cpu::pointwise_weight_scratch(p)) * Index{sizeof(T)},
             .backward_needs_input = true};
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    cpu::pointwise_pack(p, io.params[0].as<T>(), io.scratch.as<T>());
    cpu::pointwise_forward(ctx.queue.cpu(), p, io.x[0].as<T>(),
                           static_cast<const T*>(io.scratch.as<T>()), Epilogue<T>{}, io.y.as<T>());
  };
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const T* dy = io.dy.as<T>();
    T* w = io.scratch.as<T>();
    if (io.dparams[0])
      cpu::pointwise_backward_weight(ctx.queue.cpu(), p, io.x[0].as<T>(), dy, w + packed,
                                     io.dparams[0].as<T>());
    if (io.dx[0]) {
      cpu::pointwise_pack_transposed(p, io.params[0].as<T>(), w);
      cpu::pointwise_backward_data<T>(ctx.queue.cpu(), p, dy, w, io.dx_write[0], io.dx[0].as<T>());
    }
  };
  return k;
}

template <class T>
Kernel cpu_depthwise(const ConvolutionQuery& q) {
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = DepthwiseProblem::make(query.in[0].shape, op.window.stride, op.window.padding);
  const Index weights = op.window.size * op.window.size * op.out;
  Kernel k;
  if (!query.backward) {
    k.needs.prepared = (weights + op.out) * Index{sizeof(T)};
    k.prepare = [=](std::span<const ConstPlace> params, Place prepared) {
      prepare_unpacked<T>(op, params, prepared);
    };
  } else {
    k.needs = {.backward_scratch = cpu::depthwise_weight_scratch(p) * Index{sizeof(T)},
               .backward_needs_input = true};
  }
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    const ConstPlace w = io.prepared ? io.prepared : io.params[0];
    cpu::depthwise_forward(ctx.queue.cpu(), p, io.x[0].as<T>(), w.as<T>(),
                           epilogue<T>(op, weights, io), io.y.as<T>());
  };
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const T* dy = io.dy.as<T>();
    if (io.dparams[0])
      cpu::depthwise_backward_weight(ctx.queue.cpu(), p, io.x[0].as<T>(), dy, io.scratch.as<T>(),
                                     io.dparams[0].as<T>());
    if (io.dx[0])
      cpu::depthwise_backward_data(ctx.queue.cpu(), p, dy, io.params[0].as<T>(), io.dx_write[0],
                                   io.dx[0].as<T>());
  };
  return k;
}

template <class T>
Kernel cpu_stem(const ConvolutionQuery& q) {
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = StemProblem::make(query.in[0].shape, op.out, op.window.padding);
  const Index weights = op.window.size * op.window.size * op.in * op.out;
  Kernel k;
  if (!query.backward) {
    k.needs.prepared = (weights + op.out) * Index{sizeof(T)};
    k.prepare = [=](std::span<const ConstPlace> params, Place prepared) {
      prepare_unpacked<T>(op, params, prepared);
    };
  } else {
    k.needs = {.backward_scratch = cpu::stem_weight_scratch(p) * Index{sizeof(T)},
               .backward_needs_input = true};
  }
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    const ConstPlace w = io.prepared ? io.prepared : io.params[0];
    cpu::stem_forward(ctx.queue.cpu(), p, io.x[0].as<T>(), w.as<T>(), epilogue<T>(op, weights, io),
                      io.y.as<T>());
  };
  k.backward = [p, name = q.node.name](const StepContext& ctx, const BackwardIo& io) {
    if (io.dx[0]) throw Error("layer " + name + " (stem) has no data gradient");
    if (io.dparams[0])
      cpu::stem_backward_weight(ctx.queue.cpu(), p, io.x[0].as<T>(), io.dy.as<T>(),
                                io.scratch.as<T>(), io.dparams[0].as<T>());
  };
  return k;
}

#define DF_INSTANTIATE(T)                                    \
  template Kernel cpu_pointwise<T>(const ConvolutionQuery&); \
  template Kernel cpu_depthwise<T>(const ConvolutionQuery&); \
  template Kernel cpu_stem<T>(const ConvolutionQuery&)
DF_INSTANTIATE(float);
DF_INSTANTIATE(double);
#undef DF_INSTANTIATE

}  // namespace dfengine
