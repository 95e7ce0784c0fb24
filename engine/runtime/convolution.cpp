// Which convolutions there are kernels for; the depthwise ones and those of the stem.
#include "engine/runtime/convolution.h"

#include "kernels/cuda/depthwise/depthwise_choice.h"
#include "kernels/cuda/depthwise/depthwise_gradient.h"
#include "kernels/cuda/pointwise/pointwise_on_load.h"
#include "kernels/cuda/stem/stem_choice.h"
#include "kernels/cuda/stem/stem_moments.h"
#include "kernels/image_normalize.h"
#include "kernels/pointwise_conv.h"

namespace dfengine {
namespace {

// The queue that a kernel is given tells which it is.
using cpu::depthwise_backward_data, cuda::depthwise_backward_data;

template <class T>
void book_depthwise_with_moments(const ConvolutionQuery& q, const DepthwiseProblem& p, Kernel& k) {
  const auto chosen = cuda::choose_depthwise_moments<T>(q.tuner, p, q.op.norm_on_load.has_value());
  tell(chosen, k.names.forward, k);
  k.needs.moments = chosen.scratch;
  k.forward = [op = q.op, launch = chosen.launch](const StepContext& ctx, const ForwardIo& io) {
    launch(ctx.queue.stream, io.x[0].as<T>(), weights<T>(io), norm(op, io.x[1]), io.moments.address,
           io.y.as<T>());
  };
}

// Backward in one pass over both tensors.
template <class T>
void book_depthwise_with_gradient_sums(const ConvolutionQuery& q, const DepthwiseProblem& p,
                                       Kernel& k) {
  const auto chosen = cuda::choose_depthwise_backward<T>(q.tuner, p, q.op.gradient_on_load);
  tell(chosen.choice, k.names.data_gradient, k);
  k.names.weight_gradient = k.names.data_gradient;
  k.needs.backward_scratch = chosen.scratch;
  k.needs.gradient_sums = chosen.sums;
  k.needs.backward_needs_output = q.op.gradient_on_load;
  k.backward = [op = q.op, launch = chosen.launch](const StepContext& ctx, const BackwardIo& io) {
    launch(ctx.queue.stream, io.x[0].as<T>(), io.y.as<T>(), io.dy.as<T>(), io.working[0].as<T>(),
           norm(op, io.x[1]), gradient_on_load(op, io), io.gradient_sums.address,
           io.scratch.address, io.dparams[0].as<float>(), io.dx[1].as<T>());
  };
}

template <class Target>
Kernel depthwise(const ConvolutionQuery& q) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  using Weight = WeightOf<Target>;
  const Convolution& op = q.op;
  const auto p = DepthwiseProblem::make(q.query.in[0].shape, op.window.stride, op.window.padding);
  Kernel k;
  k.forward = [=](const StepContext& ctx, const ForwardIo& io) {
    const T* x = io.x[0].as<T>();
    const Weight* w = weights<Weight>(io);
    const auto e = epilogue<T, Sum>(op, bias_offset<Weight>(op), io);
    if constexpr (Target::kOnDevice)
      cuda::depthwise_forward<T>(ctx.queue.stream, p, x, w, e, io.y.as<T>(), norm(op, io.x[1]));
    else
      cpu::depthwise_forward<T>(ctx.queue.cpu(), p, x, w, e, io.y.as<T>());
  };
  if constexpr (Target::kOnDevice && sizeof(T) == 2) {
    if (op.makes_moments) book_depthwise_with_moments<T>(q, p, k);
  }
  if (!q.query.backward) {
    book_prepared<Target>(q, k);
    return k;
  }
  k.needs.backward_needs_input = true;
  if constexpr (Target::kOnDevice && sizeof(T) == 2) {
    if (op.makes_gradient_sums) {
      book_depthwise_with_gradient_sums<T>(q, p, k);
      return k;
    }
  }
  const Index sums =
      Target::kOnDevice ? cuda::depthwise_weight_scratch(p) : cpu::depthwise_weight_scratch(p);
  k.needs.backward_scratch = sums * Index{sizeof(Sum)};
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    const T *x = io.x[0].as<T>(), *dy = io.dy.as<T>();
    Sum *scratch = io.scratch.as<Sum>(), *dw = io.dparams[0].template as<Sum>();
    if (dw != nullptr) {
      if constexpr (Target::kOnDevice)
        cuda::depthwise_backward_weight<T>(ctx.queue.stream, p, x, dy, scratch, dw,
                                           norm(op, io.x[1]));
      else
        cpu::depthwise_backward_weight<T>(ctx.queue.cpu(), p, x, dy, scratch, dw);
    }
    const std::size_t to = gradient_input(op);
    if (io.dx[to])
      depthwise_backward_data<T>(Target::queue(ctx), p, dy, io.working[0].template as<Weight>(),
                                 io.dx_write[to], io.dx[to].template as<T>());
  };
  return k;
}

// The CPU makes x of pixels in scratch.
template <class T>
Index pixel_scratch(const Convolution& op, const StemProblem& p) {
  constexpr Index kAlignment = 64;
  return op.normalize ? round_up(p.n * p.h * p.w * 3 * Index{sizeof(T)}, kAlignment) : 0;
}
template <class T>
const T* cpu_stem_input(const Convolution& op, const StemProblem& p, const StepContext& ctx,
                        ConstPlace x, Place scratch) {
  if (!op.normalize) return x.as<T>();
  cpu::image_normalize<T>(ctx.queue.cpu(), p.n * p.h * p.w, op.normalize->mean.data(),
                          op.normalize->std_dev.data(), x.as<std::uint8_t>(), scratch.as<T>());
  return scratch.as<T>();
}

template <class Target>
void book_stem_forward(const ConvolutionQuery& q, const StemProblem& p, Kernel& k) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  if constexpr (Target::kOnDevice) {
    const auto chosen = cuda::choose_stem_forward<T>(q.tuner, p, form(q.op));
    tell(chosen, k.names.forward, k);
    k.needs.forward_scratch = chosen.scratch;
    k.forward = [op = q.op, launch = chosen.launch](const StepContext& ctx, const ForwardIo& io) {
      launch(ctx.queue.stream, io.x[0].as<T>(), weights<T>(io),
             epilogue<T, Sum>(op, bias_offset<T>(op), io), io.scratch.address, io.y.as<T>());
    };
  } else {
    k.needs.forward_scratch = pixel_scratch<T>(q.op, p);
    k.forward = [op = q.op, p](const StepContext& ctx, const ForwardIo& io) {
      cpu::stem_forward<T>(ctx.queue.cpu(), p, cpu_stem_input<T>(op, p, ctx, io.x[0], io.scratch),
                           weights<Sum>(io), epilogue<T, Sum>(op, bias_offset<Sum>(op), io),
                           io.y.as<T>());
    };
  }
}

// How a device's stem takes what lies in its input.
template <class T>
std::function<cuda::StemInput<T>(ConstPlace)> stem_input(const Convolution& op) {
  if (!op.normalize) return [](ConstPlace x) { return cuda::StemInput<T>(x.as<T>()); };
  return [affine = pixel_affine(op)](ConstPlace x) {
    return cuda::StemInput<T>(x.as<std::uint8_t>(), affine);
  };
}

template <class T>
void book_stem_with_moments(const Convolution& op, const StemProblem& p, Kernel& k) {
  const Index parts = cuda::stem_moment_parts(p);
  k.needs.moments = ChannelMoments::bytes(parts, p.k);
  k.forward = [=, input = stem_input<T>(op)](const StepContext& ctx, const ForwardIo& io) {
    cuda::stem_forward_moments<T>(ctx.queue.stream, p, input(io.x[0]), weights<T>(io), io.y.as<T>(),
                                  {parts, io.moments.as<float>()});
  };
}

template <class T>
void book_stem_of_pixels(const Convolution& op, const StemProblem& p, Kernel& k) {
  k.forward = [=, input = stem_input<T>(op)](const StepContext& ctx, const ForwardIo& io) {
    cuda::stem_forward<T>(ctx.queue.stream, p, input(io.x[0]), weights<T>(io),
                          epilogue<T, float>(op, bias_offset<T>(op), io), io.y.as<T>());
  };
}

template <class Target>
void book_stem_backward(const Convolution& op, const StemProblem& p, const std::string& name,
                        Kernel& k) {
  using T = typename Target::Value;
  using Sum = typename Target::Sum;
  std::function<void(const StepContext&, const BackwardIo&, Sum*)> weight;
  if constexpr (Target::kOnDevice) {
    k.needs.backward_scratch = cuda::stem_weight_scratch(p) * kFloatBytes;
    weight = [=, input = stem_input<T>(op)](const StepContext& ctx, const BackwardIo& io, Sum* dw) {
      cuda::stem_backward_weight<T>(ctx.queue.stream, p, input(io.x[0]), io.dy.as<T>(),
                                    io.scratch.as<Sum>(), dw, io.y.as<T>(),
                                    gradient_on_load(op, io));
    };
  } else {
    const Index pixels = pixel_scratch<T>(op, p);
    k.needs.backward_scratch = pixels + cpu::stem_weight_scratch(p) * Index{sizeof(Sum)};
    weight = [=](const StepContext& ctx, const BackwardIo& io, Sum* dw) {
      const T* const x = cpu_stem_input<T>(op, p, ctx, io.x[0], io.scratch);
      const Place behind = {io.scratch.as<std::byte>() + pixels};
      cpu::stem_backward_weight<T>(ctx.queue.cpu(), p, x, io.dy.as<T>(), behind.as<Sum>(), dw);
    };
  }
  k.backward = [=](const StepContext& ctx, const BackwardIo& io) {
    if (io.dx[0]) throw Error("layer " + name + " (stem) has no data gradient");
    if (io.dparams[0]) weight(ctx, io, io.dparams[0].template as<Sum>());
  };
}

template <class Target>
Kernel stem(const ConvolutionQuery& q) {
  using T = typename Target::Value;
  const auto p =
      StemProblem::make(q.query.in[0].shape, q.op.out, q.op.window.padding, q.op.window.stride);
  Kernel k;
  if constexpr (Target::kOnDevice && sizeof(T) == 2) {
    if (q.op.makes_moments)
      book_stem_with_moments<T>(q.op, p, k);
    else if (q.op.normalize)
      book_stem_of_pixels<T>(q.op, p, k);
  }
  if (!k.forward) book_stem_forward<Target>(q, p, k);
  if (!q.query.backward) {
    book_prepared<Target>(q, k);
    return k;
  }
  k.needs.backward_needs_input = true;
  k.needs.backward_needs_output = q.op.gradient_on_load;
  book_stem_backward<Target>(q.op, p, q.node.name, k);
  return k;
}

bool widens(const Convolution& op) {
  return cuda::has_pointwise_backward_on_load(PointwiseProblem::make(1, op.in, op.out));
}

}  // namespace

bool has_moments_kernel(const Convolution& op, const Spec& in) {
  return (is_pointwise(op) || is_depthwise(op) || is_stem(op)) &&
         element_size(computed_in(op, in)) == 2;
}

bool has_pixels_kernel(const Convolution& op, Element element) {
  return is_stem(op) && element_size(element) == 2;
}

// A convolution that widens its input gains more by the last step of the gradient behind it than by
// the sums of the one before, and has a kernel for one of both.
bool has_gradient_sums_kernel(const Convolution& op, const Spec& in) {
  const bool has_kernel = (is_depthwise(op) && cuda::has_depthwise_backward_sums(in.shape)) ||
                          (is_pointwise(op) && !widens(op));
  return op.norm_on_load && has_kernel && element_size(in.element) == 2;
}

bool has_gradient_on_load_kernel(const Convolution& op, const Spec& in) {
  const bool has_kernel = (is_depthwise(op) && op.makes_gradient_sums) ||
                          (is_pointwise(op) && widens(op)) || is_stem(op);
  return has_kernel && element_size(computed_in(op, in)) == 2;
}

template <class Target>
Kernel Kernels<Target>::operator()(const Convolution& op) const {
  const Window& window = op.window;
  const ConvolutionQuery q{op, node, query, tuner};
  const bool loads = op.norm_on_load.has_value();
  if (query.backward && op.inference_form())
    throw UsageError("layer " + node.name + " (" + kind(op) + "): has no gradient");
  if (op.makes_moments && (!Target::kOnDevice || !has_moments_kernel(op, query.in[0])))
    throw UsageError("layer " + node.name + " (" + kind(op) + "): no kernel makes moments");
  if (op.makes_gradient_sums && (!Target::kOnDevice || !has_gradient_sums_kernel(op, query.in[0])))
    throw UsageError("layer " + node.name + " (" + kind(op) +
                     "): no kernel makes its gradient's sums");
  if (op.gradient_on_load && !has_gradient_on_load_kernel(op, query.in[0]))
    throw UsageError("layer " + node.name + " (" + kind(op) + "): no kernel loads its gradient");
  if (op.normalize && !(is_stem(op) && (!Target::kOnDevice || sizeof(T) == 2)))
    throw UsageError("layer " + node.name + " (" + kind(op) + "): no kernel takes pixels");
  if (!loads || Target::kOnDevice) {
    if (is_pointwise(op)) {
      if constexpr (Target::kOnDevice)
        return cuda_pointwise<T>(q);
      else
        return cpu_pointwise<T>(q);
    }
    if (is_depthwise(op)) return depthwise<Target>(q);
    if (is_stem(op) && !loads) return stem<Target>(q);
  }
  throw UsageError("layer " + node.name + " (" + kind(op) + "): no kernel for a window of " +
                   std::to_string(window.size) + " with stride " + std::to_string(window.stride) +
                   ", " + std::to_string(op.in) + " to " + std::to_string(op.out) +
                   " channels in " + std::to_string(op.groups) + " groups");
}

#define DF_INSTANTIATE(Target) template Kernel Kernels<Target>::operator()(const Convolution&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
