// Batch norm. Saved: mean and rstd of the batch, [C] each.
#include "kernels/batch_norm.h"

#include "engine/runtime/kernels.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

// The queue that a kernel is given tells which it is.
using cpu::batch_norm_again, cuda::batch_norm_again;
using cpu::batch_norm_backward, cuda::batch_norm_backward;
using cpu::batch_norm_backward_rest, cuda::batch_norm_backward_rest;
using cpu::batch_norm_backward_sums, cuda::batch_norm_backward_sums;
using cpu::batch_norm_forward, cuda::batch_norm_forward;
using cpu::batch_norm_forward_sums, cuda::batch_norm_forward_sums;
using cpu::batch_norm_frozen_backward, cuda::batch_norm_frozen_backward;
using cpu::batch_norm_frozen_forward, cuda::batch_norm_frozen_forward;

// The moments of x that a batch norm on a device was given, or none.
ChannelMoments given(const BatchNormProblem& p, Index bytes, const ForwardIo& io) {
  return ChannelMoments::in(io.moments.as<float>(), bytes, p.c);
}

// What its readers need of a batch norm that writes no result: scale, shift and mean.
template <class T>
void for_readers(const BatchNormProblem& p, bool of_batch, const ChannelMoments& moments,
                 cuda::Stream stream, const ForwardIo& io) {
  const auto param = [&](NormParam i) { return io.params[i].as<float>(); };
  float *on_load = io.y.as<float>(), *mean = io.saved.as<float>();
  if (of_batch) {
    cuda::batch_norm_statistics<T>(
        stream, p, io.x[0].as<T>(), param(kNormScale), param(kNormShift), param(kNormMean),
        param(kNormVariance), io.next[kNormMean].as<float>(), io.next[kNormVariance].as<float>(),
        io.scratch.as<float>(), mean, mean + p.c, on_load, moments);
  } else {
    cuda::batch_norm_frozen_statistics(stream, p, param(kNormScale), param(kNormShift),
                                       param(kNormMean), param(kNormVariance), on_load);
  }
}

// more: what only the function of a device takes.
template <class Target, class... More>
void forward(const BatchNormProblem& p, bool of_batch, const StepContext& ctx, const ForwardIo& io,
             const More&... more) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  const auto param = [&](NormParam i) { return io.params[i].template as<Sum>(); };
  if (of_batch) {
    Sum* saved = io.saved.as<Sum>();
    batch_norm_forward<T>(Target::queue(ctx), p, io.x[0].as<T>(), param(kNormScale),
                          param(kNormShift), param(kNormMean), param(kNormVariance),
                          io.next[kNormMean].as<Sum>(), io.next[kNormVariance].as<Sum>(),
                          io.scratch.as<Sum>(), saved, saved + p.c, io.y.as<T>(), more...);
  } else {
    batch_norm_frozen_forward<T>(Target::queue(ctx), p, io.x[0].as<T>(), param(kNormScale),
                                 param(kNormShift), param(kNormMean), param(kNormVariance),
                                 io.y.as<T>());
  }
}

template <class Target>
void again(const BatchNormProblem& p, const StepContext& ctx, const ForwardIo& io) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  const T* x = io.x[0].as<T>();
  const Sum *gamma = io.params[kNormScale].template as<Sum>(),
            *beta = io.params[kNormShift].template as<Sum>(), *saved = io.saved.as<Sum>();
  if constexpr (Target::kOnDevice)
    batch_norm_again(ctx.queue.stream, p, x, gamma, beta, saved, saved + p.c, io.y.as<T>());
  else
    batch_norm_again(ctx.queue.cpu(), p, x, gamma, beta, saved, saved + p.c, io.scratch.as<Sum>(),
                     io.y.as<T>());
}

// sums: elements of scratch that the kernel wants.
template <class Target>
void backward(const BatchNormProblem& p, bool of_batch, Index sums, const StepContext& ctx,
              const BackwardIo& io) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  const auto param = [&](NormParam i) { return io.params[i].template as<Sum>(); };
  Sum* scratch = io.scratch.as<Sum>();
  // The kernel always writes both parameter gradients.
  Sum* unused = scratch + sums;
  Sum* dscale = io.dparams[kNormScale] ? io.dparams[kNormScale].as<Sum>() : unused;
  Sum* dshift = io.dparams[kNormShift] ? io.dparams[kNormShift].as<Sum>() : unused + p.c;
  const T *x = io.x[0].as<T>(), *dy = io.dy.as<T>();
  T* dx = io.dx[0].as<T>();
  if (of_batch) {
    const Sum* saved = io.saved.as<Sum>();
    batch_norm_backward<T>(Target::queue(ctx), p, x, dy, param(kNormScale), param(kNormShift),
                           saved, saved + p.c, scratch, dscale, dshift, dx);
  } else {
    batch_norm_frozen_backward<T>(Target::queue(ctx), p, x, dy, param(kNormScale),
                                  param(kNormShift), param(kNormMean), param(kNormVariance),
                                  scratch, dscale, dshift, dx);
  }
}

// Backward from sums that the reader of the result has made (kernels/norm_gradient.h). dx stays
// absent where the convolution that made x takes the last step.
template <class T>
void backward_given(const BatchNormProblem& p, const GradientSums& sums, bool leaves,
                    cuda::Stream stream, const BackwardIo& io) {
  auto* const scratch = io.scratch.as<float>();
  auto* const factors = leaves ? io.gradient_factors.as<float>() : scratch + 2 * p.c;
  float* dscale = io.dparams[kNormScale] ? io.dparams[kNormScale].as<float>() : scratch;
  float* dshift = io.dparams[kNormShift] ? io.dparams[kNormShift].as<float>() : scratch + p.c;
  const auto* const saved = io.saved.as<float>();
  cuda::batch_norm_backward_given<T>(stream, p, sums, io.x[0].as<T>(), io.dy.as<T>(),
                                     io.params[kNormScale].as<float>(), saved, saved + p.c, factors,
                                     dscale, dshift, leaves ? nullptr : io.dx[0].as<T>());
}

// The rows of the whole batch.
Index rows_of_all(const BatchNormProblem& p, const BatchPart& part) {
  return p.m / part.n * part.whole;
}

// The rest of forward, when the sums of all slices were added.
template <class Target>
void forward_rest(const BatchNormProblem& p, bool defers, const StepContext& ctx,
                  const ForwardIo& io) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  const auto param = [&](NormParam i) { return io.params[i].template as<Sum>(); };
  const Index rows = rows_of_all(p, *ctx.part);
  const T* x = io.x[0].as<T>();
  const Sum *gamma = param(kNormScale), *beta = param(kNormShift), *mean = param(kNormMean),
            *var = param(kNormVariance);
  Sum *next_mean = io.next[kNormMean].as<Sum>(), *next_var = io.next[kNormVariance].as<Sum>();
  Sum* saved = io.saved.as<Sum>();
  if constexpr (!Target::kOnDevice) {
    cpu::batch_norm_forward_rest<T>(ctx.queue.cpu(), p, rows, ctx.part->sums, x, gamma, beta, mean,
                                    var, next_mean, next_var, io.scratch.as<Sum>(), saved,
                                    saved + p.c, io.y.as<T>());
  } else if (defers) {
    cuda::batch_norm_statistics_rest(ctx.queue.stream, p, rows, ctx.part->sums, gamma, beta, mean,
                                     var, next_mean, next_var, saved, saved + p.c, io.y.as<Sum>());
  } else {
    cuda::batch_norm_forward_rest<T>(ctx.queue.stream, p, rows, ctx.part->sums, x, gamma, beta,
                                     mean, var, next_mean, next_var, saved, saved + p.c,
                                     io.y.as<T>());
  }
}

// Slices of a batch: in two parts, between which the sums of all slices are added.
template <class Target>
void book_slices(const BatchNormProblem& p, bool defers, Index scratch, Kernel& k) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  const auto param = [](const auto& io, NormParam i) { return io.params[i].template as<Sum>(); };
  k.sums = 2 * p.c;
  k.forward_sums = [p](const StepContext& ctx, const ForwardIo& io, double* sums) {
    batch_norm_forward_sums<T>(Target::queue(ctx), p, io.x[0].as<T>(), io.scratch.as<Sum>(), sums);
  };
  k.forward = [p, defers](const StepContext& ctx, const ForwardIo& io) {
    forward_rest<Target>(p, defers, ctx, io);
  };
  k.backward_sums = [p, param, scratch](const StepContext& ctx, const BackwardIo& io,
                                        double* sums) {
    const Sum* saved = io.saved.as<Sum>();
    Sum* unused = io.scratch.as<Sum>() + scratch;
    Sum* dscale = io.dparams[kNormScale] ? io.dparams[kNormScale].as<Sum>() : unused;
    Sum* dshift = io.dparams[kNormShift] ? io.dparams[kNormShift].as<Sum>() : unused + p.c;
    batch_norm_backward_sums<T>(Target::queue(ctx), p, io.x[0].as<T>(), io.dy.as<T>(),
                                param(io, kNormScale), param(io, kNormShift), saved, saved + p.c,
                                io.scratch.as<Sum>(), dscale, dshift, sums);
  };
  k.backward = [p, param](const StepContext& ctx, const BackwardIo& io) {
    if (!io.dx[0]) return;
    const Sum* saved = io.saved.as<Sum>();
    batch_norm_backward_rest<T>(Target::queue(ctx), p, rows_of_all(p, *ctx.part), ctx.part->sums,
                                io.x[0].as<T>(), io.dy.as<T>(), param(io, kNormScale),
                                param(io, kNormShift), saved, saved + p.c, io.scratch.as<Sum>(),
                                io.dx[0].as<T>());
  };
}

template <class T>
void book_given_sums(const BatchNorm& op, const BatchNormProblem& p, const KernelQuery& query,
                     Kernel& k) {
  const bool leaves = op.leaves_gradient;
  constexpr Index kUnasked = 2;  // gradients
  k.needs.backward_scratch =
      kUnasked * p.c * kFloatBytes + (leaves ? 0 : GradientOnLoad::bytes(p.c));
  if (leaves) k.needs.gradient_factors = GradientOnLoad::bytes(p.c);
  k.backward = [=, bytes = query.gradient_sums](const StepContext& ctx, const BackwardIo& io) {
    const auto sums = GradientSums::in(io.gradient_sums.as<float>(), bytes, p.c);
    backward_given<T>(p, sums, leaves, ctx.queue.stream, io);
  };
}

}  // namespace

template <class Target>
Kernel Kernels<Target>::operator()(const BatchNorm& op) const {
  const bool defers = op.output == NormOutput::OnLoad;
  if (defers && !Target::kOnDevice)
    throw UsageError("layer " + node.name + ": the CPU applies no batch norm on load");
  if ((op.moments_given || op.gradient_sums_given || op.leaves_gradient) && !Target::kOnDevice)
    throw UsageError("layer " + node.name + ": no kernel of the CPU makes moments");
  const Shape& x = query.in[0].shape;
  const auto p = BatchNormProblem::make(x.rows(), op.channels, op.eps, op.momentum, op.activation);
  const Index sums = Target::kOnDevice ? cuda::batch_norm_scratch(p) : cpu::batch_norm_scratch(p);
  const bool of_batch = query.phase == Phase::Train && !op.frozen_statistics;
  constexpr Index kSize = sizeof(Sum);
  Kernel k;
  if (of_batch) {
    if (x.rows() == 1 && !query.sliced)
      throw ShapeError("layer " + node.name +
                       ": needs more than one value per channel in training, input is " +
                       to_string(x));
    if (query.moments == 0) k.needs.forward_scratch = sums * kSize;
    k.needs.saved = 2 * p.c * kSize;
    if (!defers)
      k.again = [p](const StepContext& ctx, const ForwardIo& io) { again<Target>(p, ctx, io); };
  }
  if (query.backward) {
    k.needs.backward_needs_input = true;
    k.needs.backward_scratch = (sums + 2 * p.c) * kSize;  // and gradients that nobody asked for
    k.needs.dx_may_be_dy = true;
    k.needs.dx_overwrites = true;
  } else if (!of_batch && !defers) {
    k.needs.overwrites_input = 0;
  }
  if (query.sliced && of_batch) {
    book_slices<Target>(p, defers, sums, k);
    return k;
  }
  const Index moments_bytes = query.moments;
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    if constexpr (Target::kOnDevice) {
      const ChannelMoments moments = given(p, moments_bytes, io);
      if (defers) return for_readers<T>(p, of_batch, moments, ctx.queue.stream, io);
      forward<Target>(p, of_batch, ctx, io, moments);
    } else {
      forward<Target>(p, of_batch, ctx, io);
    }
  };
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    backward<Target>(p, of_batch, sums, ctx, io);
  };
  if constexpr (Target::kOnDevice) {
    if (query.backward && op.gradient_sums_given) book_given_sums<T>(op, p, query, k);
  }
  return k;
}

#define DF_INSTANTIATE(Target) template Kernel Kernels<Target>::operator()(const BatchNorm&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
