// Pointwise convolution on the CPU. Prepared, in inference form: packed weights, then the bias.
#include "kernels/pointwise_conv.h"

#include "engine/runtime/convolution.h"

namespace dfengine {

template <class T>
Kernel cpu_pointwise(const ConvolutionQuery& q) {
  using Sum = SumOf<T>;
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = PointwiseProblem::make(query.out.shape.rows(), op.in, op.out);
  const Index packed = cpu::pointwise_packed_count(p);
  Kernel k;
  if (!query.backward) {
    k.needs.prepared = packed * Index{sizeof(T)} + op.out * Index{sizeof(Sum)};
    if (op.residual) k.needs.overwrites_input = 1;
    k.prepare = [=](std::span<const ConstPlace> params, Place prepared) {
      const FoldedWeights<Sum> folded = fold<Sum>(op, params);
      cpu::pointwise_pack<T>(p, folded.weights.data(), prepared.as<T>());
      const Place bias{prepared.as<T>() + packed};
      std::ranges::copy(folded.bias, bias.as<Sum>());
    };
    k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
      cpu::pointwise_forward(ctx.queue.cpu(), p, io.x[0].as<T>(), io.prepared.as<T>(),
                             epilogue<T, Sum>(op, packed * Index{sizeof(T)}, io), io.y.as<T>());
    };
    return k;
  }
  // Packed weights for the data gradient, then the partial weight gradients.
  const Index weight_bytes = round_up(packed * Index{sizeof(T)}, Index{sizeof(Sum)});
  k.needs = {
      .forward_scratch = weight_bytes,
      .backward_scratch = weight_bytes + cpu::pointwise_weight_scratch(p) * Index{sizeof(Sum)},
      .backward_needs_input = true};
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    cpu::pointwise_pack<T>(p, io.params[0].as<Sum>(), io.scratch.as<T>());
    cpu::pointwise_forward(ctx.queue.cpu(), p, io.x[0].as<T>(),
                           static_cast<const T*>(io.scratch.as<T>()), Epilogue<T>{}, io.y.as<T>());
  };
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const T* dy = io.dy.as<T>();
    T* w = io.scratch.as<T>();
    if (io.dparams[0])
      cpu::pointwise_backward_weight<T>(ctx.queue.cpu(), p, io.x[0].as<T>(), dy,
                                        Place{io.scratch.as<std::byte>() + weight_bytes}.as<Sum>(),
                                        io.dparams[0].as<Sum>());
    if (io.dx[0]) {
      cpu::pointwise_pack_transposed<T>(p, io.params[0].as<Sum>(), w);
      cpu::pointwise_backward_data<T>(ctx.queue.cpu(), p, dy, w, io.dx_write[0], io.dx[0].as<T>());
    }
  };
  return k;
}

template Kernel cpu_pointwise<float>(const ConvolutionQuery&);
template Kernel cpu_pointwise<double>(const ConvolutionQuery&);
template Kernel cpu_pointwise<BFloat16>(const ConvolutionQuery&);

}  // namespace dfengine
