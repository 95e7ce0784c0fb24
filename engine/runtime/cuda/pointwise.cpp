// Pointwise convolution on a CUDA device.
#include "kernels/pointwise_conv.h"

#include "engine/runtime/convolution.h"
#include "kernels/cuda/pointwise/pointwise_backward_choice.h"
#include "kernels/cuda/pointwise/pointwise_on_load.h"

namespace dfengine {

namespace {

template <class T>
void book_forward(const ConvolutionQuery& q, const PointwiseProblem& p, Kernel& k) {
  const Convolution& op = q.op;
  const auto forward =
      cuda::choose_pointwise_forward<T>(q.tuner, p, form(op), op.norm_on_load.has_value());
  tell(forward, k.names.forward, k);
  k.needs.forward_scratch = forward.scratch;
  k.forward = [op, launch = forward.launch](const StepContext& ctx, const ForwardIo& io) {
    launch(ctx.queue.stream, io.x[0].as<T>(), weights<T>(io),
           epilogue<T, float>(op, bias_offset<T>(op), io), norm(op, io.x[1]), io.scratch.address,
           io.y.as<T>());
  };
}

template <class T>
void book_forward_with_moments(const ConvolutionQuery& q, const PointwiseProblem& p, Kernel& k) {
  const Convolution& op = q.op;
  const auto forward = cuda::choose_pointwise_moments<T>(q.tuner, p, op.norm_on_load.has_value());
  tell(forward, k.names.forward, k);
  k.needs.moments = forward.scratch;
  k.forward = [op, launch = forward.launch](const StepContext& ctx, const ForwardIo& io) {
    launch(ctx.queue.stream, io.x[0].as<T>(), weights<T>(io), norm(op, io.x[1]), io.moments.address,
           io.y.as<T>());
  };
}

using DataGradient = std::function<void(const StepContext&, const BackwardIo&)>;

template <class T>
DataGradient book_data_gradient(const ConvolutionQuery& q, const PointwiseProblem& p, Kernel& k) {
  const auto data = cuda::choose_pointwise_backward_data<T>(q.tuner, p);
  tell(data, k.names.data_gradient, k);
  k.needs.backward_scratch = data.scratch;
  return [to = gradient_input(q.op), launch = data.launch](const StepContext& ctx,
                                                           const BackwardIo& io) {
    launch(ctx.queue.stream, io.dy.as<T>(), io.working[0].as<T>(), io.dx_write[to],
           io.scratch.address, io.dx[to].as<T>());
  };
}

template <class T>
void book_backward_with_sums(const ConvolutionQuery& q, const PointwiseProblem& p, Kernel& k) {
  const auto chosen = cuda::choose_pointwise_backward<T>(q.tuner, p);
  tell(chosen.data, k.names.data_gradient, k);
  tell(chosen.weight, k.names.weight_gradient, k);
  k.needs.gradient_sums = chosen.sums;
  k.needs.backward_needs_input = true;
  k.needs.backward_scratch = chosen.scratch;
  k.backward = [op = q.op, launch = chosen.launch](const StepContext& ctx, const BackwardIo& io) {
    launch(ctx.queue.stream, io.x[0].as<T>(), io.dy.as<T>(), io.working[0].as<T>(),
           norm(op, io.x[1]), io.gradient_sums.address, io.scratch.address, io.dx[1].as<T>(),
           io.dparams[0].as<float>());
  };
}

template <class T>
void book_backward_on_load(const Convolution& op, const PointwiseProblem& p, Kernel& k) {
  k.needs.backward_needs_input = k.needs.backward_needs_output = true;
  k.needs.backward_scratch = cuda::pointwise_on_load_scratch(p) * kFloatBytes;
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const std::size_t to = gradient_input(op);
    cuda::pointwise_backward_on_load<T>(
        ctx.queue.stream, p, io.x[0].as<T>(), io.y.as<T>(), io.dy.as<T>(), io.working[0].as<T>(),
        norm(op, io.x[1]), gradient_on_load(op, io), io.scratch.as<float>(),
        io.dparams[0].as<float>(), io.dx_write[to], io.dx[to].as<T>());
  };
}

}  // namespace

template <class T>
Kernel cuda_pointwise(const ConvolutionQuery& q) {
  const Convolution& op = q.op;
  const KernelQuery& query = q.query;
  const auto p = PointwiseProblem::make(query.out.shape.rows(), op.in, op.out);
  const bool loads = op.norm_on_load.has_value();
  Kernel k;
  k.by_slice = sizeof(T) == 4;  // few results are added up in another order
  if (!query.backward) book_prepared<OnCuda<T>>(q, k);
  if (!query.backward && op.residual) k.needs.overwrites_input = 1;
  if constexpr (sizeof(T) == 2) {
    if (op.makes_moments) book_forward_with_moments<T>(q, p, k);
  }
  if (!op.makes_moments) book_forward<T>(q, p, k);
  if (!query.backward) return k;

  if constexpr (sizeof(T) == 2) {
    if (op.gradient_on_load) {
      book_backward_on_load<T>(op, p, k);
      return k;
    }
    if (op.makes_gradient_sums) {
      book_backward_with_sums<T>(q, p, k);
      return k;
    }
  }
  const DataGradient data = book_data_gradient<T>(q, p, k);
  const auto weight = cuda::choose_pointwise_backward_weight<T>(q.tuner, p, loads);
  tell(weight, k.names.weight_gradient, k);
  k.needs.backward_needs_input = true;
  // Both gradients take turns in it.
  k.needs.backward_scratch = std::max(k.needs.backward_scratch, weight.scratch);
  k.backward = [op, data, to_weight = weight.launch](const StepContext& ctx, const BackwardIo& io) {
    if (io.dparams[0])
      to_weight(ctx.queue.stream, io.x[0].as<T>(), io.dy.as<T>(), norm(op, io.x[1]),
                io.scratch.address, io.dparams[0].as<float>());
    if (io.dx[gradient_input(op)]) data(ctx, io);
  };
  return k;
}

template Kernel cuda_pointwise<Half>(const ConvolutionQuery&);
template Kernel cuda_pointwise<BFloat16>(const ConvolutionQuery&);
template Kernel cuda_pointwise<float>(const ConvolutionQuery&);

}  // namespace dfengine
