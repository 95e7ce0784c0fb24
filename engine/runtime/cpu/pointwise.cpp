// Pointwise convolution on the CPU. Prepared, in inference form: packed weights, then the bias.
#include "kernels/pointwise_conv.h"

#include "engine/runtime/convolution.h"

namespace dfengine {

namespace {

template <class T>
void book_training(const PointwiseProblem& p, Index packed, Kernel& k) {
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
}

}  // namespace

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
    k.prepare = [=, name = q.node.name](std::span<const ConstPlace> params, Place prepared) {
      const FoldedWeights<Sum> folded = fold<Sum>(op, params);
      std::vector<T> weights;
      for (Sum value : folded.weights) weights.push_back(stored<T>(value, name));
      cpu::pointwise_pack(p, weights.data(), prepared.as<T>());
      const Place bias{prepared.as<T>() + packed};
      std::ranges::copy(folded.bias, bias.as<Sum>());
    };
    k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
      cpu::pointwise_forward(ctx.queue.cpu(), p, io.x[0].as<T>(), io.prepared.as<T>(),
                             epilogue<T, Sum>(op, packed * Index{sizeof(T)}, io), io.y.as<T>());
    };
    return k;
  }
  if constexpr (OnCpu<T>::kTrains) book_training<T>(p, packed, k);
  return k;
}

template Kernel cpu_pointwise<float>(const ConvolutionQuery&);
template Kernel cpu_pointwise<double>(const ConvolutionQuery&);
template Kernel cpu_pointwise<BFloat16>(const ConvolutionQuery&);

}  // namespace dfengine
