// The kernel of a block's wide half that is not stored: one on devices, which have it in 16 bits.
#include "kernels/expand_depthwise.h"

#include <fmt/format.h>

#include "engine/runtime/convolution.h"
#include "kernels/cuda/expand_depthwise/expand_check.h"
#include "kernels/cuda/tuning/tuner.h"

namespace dfengine {
namespace {

// Where the three layers' parameters begin.
constexpr std::size_t kExpand = 0, kNorm = 1, kTaps = kNorm + kNormVariance + 1;
// Taps of a channel.
constexpr Index kTapCount = DepthwiseProblem::kTaps;

ExpandDepthwiseProblem problem(const ExpandDepthwise& op, const Spec& in) {
  const Convolution& expand = op.expand.conv;
  const Window& window = op.depthwise.conv.window;
  ExpandDepthwiseProblem p{.in = expand.in,
                           .eps = op.norm.eps,
                           .momentum = op.norm.momentum,
                           .activation = op.norm.activation};
  Shape wide = in.shape;
  if (expand.normalize) {
    p.pixels = pixel_input(expand, in.shape);
    p.in = PixelInput::kDepth;
    wide = p.pixels->stem.output();
  }
  wide.c = expand.out;
  p.depthwise = DepthwiseProblem::make(wide, window.stride, window.padding);
  return p;
}

template <class T>
void filter(const ExpandDepthwiseProblem& p, float* moments, const StepContext& ctx,
            const ForwardIo& io) {
  cuda::expand_depthwise_forward<T>(
      ctx.queue.stream, p, io.x[0].address, io.working[kExpand].as<T>(), io.working[kTaps].as<T>(),
      io.saved.as<float>(), io.y.as<T>(), {cuda::expand_depthwise_parts(p), moments});
}

template <class T>
void forward(const ExpandDepthwiseProblem& p, const StepContext& ctx, const ForwardIo& io) {
  const auto param = [&](std::size_t i) { return io.params[kNorm + i].as<float>(); };
  const auto next = [&](std::size_t i) { return io.next[kNorm + i].as<float>(); };
  cuda::expand_statistics<T>(ctx.queue.stream, p, io.x[0].address,
                             {.w = io.working[kExpand].as<T>(),
                              .gamma = param(kNormScale),
                              .beta = param(kNormShift),
                              .running_mean = param(kNormMean),
                              .running_var = param(kNormVariance),
                              .next_mean = next(kNormMean),
                              .next_var = next(kNormVariance)},
                             io.scratch.address, io.saved.as<float>());
  filter<T>(p, io.moments.as<float>(), ctx, io);
}

// What backward keeps in its scratch, in bytes from its beginning.
struct BackwardScratch {
  Index sums = 0, parts = 0, rest = 0, unasked = 0, projected = 0, bytes = 0;

  explicit BackwardScratch(const ExpandDepthwiseProblem& p) {
    constexpr Index kAlignment = 16, kNormGradients = 2, kNarrow = 2;
    const auto take = [this](Index size) {
      const Index begin = bytes;
      bytes += round_up(size, kAlignment);
      return begin;
    };
    sums = take(cuda::expand_depthwise_sums(p) * kFloatBytes);
    parts = take(cuda::expand_depthwise_scratch(p) * kFloatBytes);
    rest = take(cuda::expand_gradients_scratch(p) * kFloatBytes);
    unasked = take(p.wide() * (p.in + kNormGradients + kTapCount) * kFloatBytes);
    // Pixels have no gradient.
    projected = take(p.pixels ? 0 : p.input().count() * kNarrow);
  }
};

Place behind(Place place, Index bytes) {
  return {place.as<std::byte>() + bytes};
}

template <class T>
void backward(const ExpandDepthwise& op, const ExpandDepthwiseProblem& p, const BackwardScratch& at,
              const StepContext& ctx, const BackwardIo& io) {
  // The kernels always write the parameters' gradients.
  auto* unasked = behind(io.scratch, at.unasked).as<float>();
  const auto gradient = [&](std::size_t i, Index count) {
    float* const here = unasked;
    unasked += count;
    return io.dparams[i] ? io.dparams[i].as<float>() : here;
  };
  float* const dw = gradient(kExpand, p.wide() * p.in);
  float* const dgamma = gradient(kNorm + kNormScale, p.wide());
  float* const dbeta = gradient(kNorm + kNormShift, p.wide());
  float* const dtaps = gradient(kTaps, kTapCount * p.wide());
  T* const projected = io.dx[0] ? behind(io.scratch, at.projected).as<T>() : nullptr;
  float* const sums = behind(io.scratch, at.sums).as<float>();
  const void* const x = io.x[0].address;
  const T* const w = io.working[kExpand].as<T>();
  const auto* const saved = io.saved.as<float>();
  cuda::expand_depthwise_backward<T>(
      ctx.queue.stream, p, x, io.y.as<T>(), io.dy.as<T>(), w, io.working[kTaps].as<T>(), saved,
      gradient_on_load(op.depthwise.conv, io), behind(io.scratch, at.parts).as<float>(), sums,
      dtaps, projected);
  cuda::expand_gradients<T>(ctx.queue.stream, p, x, w, saved, sums,
                            behind(io.scratch, at.rest).as<float>(), dw, dgamma, dbeta, projected,
                            io.dx_write[0], io.dx[0].as<T>());
}

}  // namespace

bool has_expand_depthwise_kernel(const ExpandDepthwise& op, const Spec& in, cuda::Tuner* tuner) {
  const Element element = computed_in(op.expand.conv, in);
  if (element_size(element) != 2) return false;
  const ExpandDepthwiseProblem p = problem(op, in);
  if (!cuda::has_expand_depthwise(p) || tuner == nullptr) return cuda::has_expand_depthwise(p);
  const bool half = element == Element::F16;
  const std::string from =
      p.pixels ? fmt::format("pixels at stride {}", p.pixels->stem.stride) : std::to_string(p.in);
  const std::string key =
      fmt::format("expansion made twice, {} {} to {}{}, stride {}{}", half ? "fp16" : "bf16", from,
                  p.wide(), activation_suffix(p.activation), p.depthwise.stride,
                  p.depthwise.padding == Padding::TfSame ? ", padded as by TensorFlow" : "");
  return tuner->passes(key, [&] {
    half ? cuda::check_expand_depthwise<Half>(nullptr, p)
         : cuda::check_expand_depthwise<BFloat16>(nullptr, p);
  });
}

template <class Target>
Kernel Kernels<Target>::operator()(const ExpandDepthwise& op) const {
  if constexpr (Target::kOnDevice && sizeof(T) == 2) {
    if (query.phase == Phase::Train && has_expand_depthwise_kernel(op, query.in[0], nullptr)) {
      const ExpandDepthwiseProblem p = problem(op, query.in[0]);
      const BackwardScratch scratch(p);
      const Index parts = cuda::expand_depthwise_parts(p);
      const Index moments = ChannelMoments::bytes(parts, p.wide());
      Kernel k;
      k.needs.saved = cuda::expand_depthwise_saved(p) * kFloatBytes;
      // Made again, the moments are nobody's.
      k.needs.forward_scratch = std::max(cuda::expand_statistics_scratch(p), moments);
      k.needs.backward_scratch = scratch.bytes;
      k.needs.moments = moments;
      k.needs.backward_needs_input = true;
      k.needs.backward_needs_output = op.depthwise.conv.gradient_on_load;
      k.forward = [p](const StepContext& ctx, const ForwardIo& io) { forward<T>(p, ctx, io); };
      k.again = [p](const StepContext& ctx, const ForwardIo& io) {
        filter<T>(p, io.scratch.as<float>(), ctx, io);
      };
      k.backward = [op, p, scratch](const StepContext& ctx, const BackwardIo& io) {
        backward<T>(op, p, scratch, ctx, io);
      };
      return k;
    }
  }
  throw UsageError("layer " + node.name + " (" + kind(op) +
                   "): only devices have it, in 16 bits, for training");
}

#define DF_INSTANTIATE(Target) \
  template Kernel Kernels<Target>::operator()(const ExpandDepthwise&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
