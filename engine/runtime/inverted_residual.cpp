// The kernel of a whole inverted residual block, which devices have in 16 bits.
#include "kernels/inverted_residual.h"

#include "engine/runtime/convolution.h"
#include "kernels/cuda/inverted_residual/inverted_residual_choice.h"

namespace dfengine {
namespace {

constexpr std::size_t kParamsOfPart = 5;  // a weight and those of its norm

// Matrices, then biases, each at a multiple of sixteen bytes.
template <class T>
struct PreparedBlock {
  Index expand, depthwise, project, expand_bias, depthwise_bias, project_bias, bytes;

  explicit PreparedBlock(const InvertedResidualProblem& p) {
    Index at = 0;
    const auto book = [&](Index& offset, Index count, Index size) {
      offset = at;
      at += round_up(count * size, Index{16});
    };
    const Index wide = p.depthwise.c;
    book(expand, wide * p.in, sizeof(T));
    book(depthwise, 9 * wide, sizeof(T));
    book(project, p.out * wide, sizeof(T));
    book(expand_bias, wide, sizeof(float));
    book(depthwise_bias, wide, sizeof(float));
    book(project_bias, p.out, sizeof(float));
    bytes = at;
  }

  InvertedResidualWeights<T> in(ConstPlace prepared) const {
    const auto at = [&](Index offset) { return ConstPlace{prepared.as<std::byte>() + offset}; };
    return {.expand = at(expand).template as<T>(),
            .expand_bias = at(expand_bias).template as<float>(),
            .depthwise = at(depthwise).template as<T>(),
            .depthwise_bias = at(depthwise_bias).template as<float>(),
            .project = at(project).template as<T>(),
            .project_bias = at(project_bias).template as<float>()};
  }
};

// Stem weights [3, 3, 3, wide] as PixelInput has them.
std::vector<float> by_depth(const std::vector<float>& weights, Index wide) {
  std::vector<float> rows(at(wide * PixelInput::kDepth));
  for (Index i = 0; i < std::ssize(weights); ++i) {
    const Index tap = i / wide, depth = PixelInput::depth(tap / 9, tap / 3 % 3, tap % 3);
    rows[at(i % wide * PixelInput::kDepth + depth)] = weights[at(i)];
  }
  return rows;
}

template <class T>
void fill(const InvertedResidual& op, const InvertedResidualProblem& p,
          std::span<const ConstPlace> params, Place prepared) {
  const PreparedBlock<T> layout(p);
  const auto part = [&](const InvertedResidual::Part& of, std::size_t i, Index weights,
                        Index bias) {
    FoldedWeights<float> folded = fold<float>(of.conv, params.subspan(i * kParamsOfPart));
    if (of.conv.window.size > 1 && of.conv.groups == 1)
      folded.weights = by_depth(folded.weights, of.conv.out);
    T* w = Place{prepared.as<std::byte>() + weights}.template as<T>();
    for (float value : folded.weights) *w++ = stored<T>(value, of.name);
    std::ranges::copy(folded.bias, Place{prepared.as<std::byte>() + bias}.template as<float>());
  };
  part(op.expand, 0, layout.expand, layout.expand_bias);
  part(op.depthwise, 1, layout.depthwise, layout.depthwise_bias);
  part(op.project, 2, layout.project, layout.project_bias);
}

InvertedResidualProblem problem(const InvertedResidual& op, const Spec& in) {
  const Convolution &expand = op.expand.conv, &filter = op.depthwise.conv;
  InvertedResidualProblem p{.in = expand.in,
                            .out = op.project.conv.out,
                            .expanded = expand.activation,
                            .filtered = filter.activation,
                            .residual = op.project.conv.residual};
  Shape wide = in.shape;
  if (op.normalize) {
    p.pixels = {.stem = StemProblem::make(in.shape, expand.out, expand.window.padding),
                .affine = PixelAffine::of(op.normalize->mean.data(), op.normalize->std_dev.data())};
    wide = p.pixels->stem.output();
    p.in = PixelInput::kDepth;
  }
  wide.c = expand.out;
  p.depthwise = DepthwiseProblem::make(wide, filter.window.stride, filter.window.padding);
  return p;
}

template <class T>
constexpr bool kHasBlocks = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

}  // namespace

bool has_block_kernel(const InvertedResidual& op, const Spec& in) {
  const Element element = op.normalize ? op.normalize->element : in.element;
  if (element != Element::F16 && element != Element::BF16) return false;
  return !cuda::inverted_residual_configs(problem(op, in)).empty();
}

template <class Target>
Kernel Kernels<Target>::operator()(const InvertedResidual& op) const {
  if constexpr (Target::kOnDevice && kHasBlocks<T>) {
    const InvertedResidualProblem p = problem(op, query.in[0]);
    const auto chosen = cuda::choose_inverted_residual<T>(tuner, p);
    const PreparedBlock<T> layout(p);
    Kernel k;
    tell(chosen, k.names.forward, k);
    k.needs.prepared = layout.bytes;
    k.prepare = [=](std::span<const ConstPlace> params, Place prepared) {
      fill<T>(op, p, params, prepared);
    };
    k.forward = [=, launch = chosen.launch](const StepContext& ctx, const ForwardIo& io) {
      launch(ctx.queue.stream, io.x[0].address, layout.in(io.prepared), io.y.as<T>());
    };
    return k;
  } else {
    throw UsageError("layer " + node.name + " (" + kind(op) +
                     "): devices alone have it, in 16 bits");
  }
}

#define DF_INSTANTIATE(Target) \
  template Kernel Kernels<Target>::operator()(const InvertedResidual&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
