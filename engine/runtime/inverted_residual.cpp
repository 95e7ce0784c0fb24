// The kernel of a whole inverted residual block: one on devices, which have it in 16 bits, and on
// the CPU, where no plan asks for it but oracles do, those of its parts.
#include "kernels/inverted_residual.h"

#include <memory>

#include "engine/runtime/convolution.h"
#include "kernels/cuda/inverted_residual/inverted_residual_choice.h"

namespace dfengine {
namespace {

constexpr std::size_t kParamsOfPart = 5;  // a weight and those of its norm
constexpr Index kStageAlignment = 64;

// Stem weights [3, 3, 3, wide] as PixelInput has them.
std::vector<float> by_depth(const std::vector<float>& weights, Index wide) {
  std::vector<float> rows(at(wide * PixelInput::kDepth));
  for (Index i = 0; i < std::ssize(weights); ++i) {
    const Index tap = i / wide, depth = PixelInput::depth(tap / 9, tap / 3 % 3, tap % 3);
    rows[at(i % wide * PixelInput::kDepth + depth)] = weights[at(i)];
  }
  return rows;
}

// One convolution of a block, its norm folded in.
template <class T>
struct FoldedPart {
  std::vector<T> weights;
  std::vector<float> bias;
};

template <class T>
FoldedPart<T> fold_part(const InvertedResidual::Part& part, std::span<const ConstPlace> params) {
  FoldedWeights<float> folded = fold<float>(part.conv, params);
  if (part.conv.window.size > 1 && part.conv.groups == 1)
    folded.weights = by_depth(folded.weights, part.conv.out);
  std::vector<T> weights;
  for (float value : folded.weights) weights.push_back(fitting<T>(value, part.name));
  return {std::move(weights), std::move(folded.bias)};
}

template <class T>
void fill(const InvertedResidual& op, const InvertedResidualProblem& p,
          std::span<const ConstPlace> params, Place prepared) {
  const FoldedPart<T> expand = fold_part<T>(op.expand, params),
                      filter = fold_part<T>(op.depthwise, params.subspan(kParamsOfPart)),
                      project = fold_part<T>(op.project, params.subspan(2 * kParamsOfPart));
  cuda::pack_inverted_residual_weights<T>(p,
                                          {.expand = expand.weights,
                                           .expand_bias = expand.bias,
                                           .depthwise = filter.weights,
                                           .depthwise_bias = filter.bias,
                                           .project = project.weights,
                                           .project_bias = project.bias},
                                          prepared.address);
}

InvertedResidualProblem problem(const InvertedResidual& op, const Spec& in) {
  const Convolution &expand = op.expand.conv, &filter = op.depthwise.conv;
  InvertedResidualProblem p{.in = expand.in,
                            .out = op.project.conv.out,
                            .expanded = expand.activation,
                            .filtered = filter.activation,
                            .residual = op.project.conv.residual};
  Shape wide = in.shape;
  if (expand.normalize) {
    p.pixels = pixel_input(expand, in.shape);
    wide = p.pixels->stem.output();
    p.in = PixelInput::kDepth;
  }
  wide.c = expand.out;
  p.depthwise = DepthwiseProblem::make(wide, filter.window.stride, filter.window.padding);
  return p;
}

// ---- Its parts, one after the other ----

struct Stage {
  Kernel kernel;
  Index bytes = 0;  // of its result, which lies in scratch
  std::size_t first_param = 0, params = 0;
};

template <class Target>
std::vector<Stage> stages(const InvertedResidual& op, const KernelQuery& query) {
  std::vector<Stage> all;
  std::vector<Spec> in = {query.in[0]};
  std::size_t param = 0;
  const auto add = [&](const std::string& name, const Operation& operation) {
    const Spec out = infer(operation, name, in);
    const Node node{.name = name, .operation = operation, .inputs = {}};
    const KernelQuery of_part{query.phase, false, in, out};
    const std::size_t params_of_part = params(operation, name).size();
    all.push_back({std::visit(Kernels<Target>{node, of_part}, operation),
                   round_up(out.bytes(), kStageAlignment), param, params_of_part});
    param += params_of_part;
    in = {out};
  };
  for (const auto* part : {&op.expand, &op.depthwise, &op.project}) {
    if (part->conv.residual) in.push_back(query.in[0]);
    add(part->name, part->conv);
  }
  return all;
}

template <class Target>
Kernel one_by_one(const InvertedResidual& op, const KernelQuery& query) {
  const auto all = std::make_shared<std::vector<Stage>>(stages<Target>(op, query));
  Kernel k;
  Index own_scratch = 0, values = 0;
  for (const Stage& stage : *all) {
    k.needs.prepared += round_up(stage.kernel.needs.prepared, kStageAlignment);
    own_scratch = std::max(own_scratch, stage.kernel.needs.forward_scratch);
    values += stage.bytes;
  }
  k.needs.forward_scratch = values + own_scratch;
  k.prepare = [all](std::span<const ConstPlace> params, Place prepared) {
    auto* at = prepared.as<std::byte>();
    for (const Stage& stage : *all) {
      if (stage.kernel.prepare)
        stage.kernel.prepare(params.subspan(stage.first_param, stage.params), {at});
      at += round_up(stage.kernel.needs.prepared, kStageAlignment);
    }
  };
  k.forward = [all, values](const StepContext& ctx, const ForwardIo& io) {
    const auto* prepared = io.prepared.as<std::byte>();
    auto* at = io.scratch.as<std::byte>();
    ForwardIo part;
    part.x = {io.x[0], io.x[0]};
    part.scratch = {at + values};
    for (const Stage& stage : *all) {
      part.y = &stage == &all->back() ? io.y : Place{at};
      part.prepared = {stage.kernel.needs.prepared > 0 ? prepared : nullptr};
      stage.kernel.forward(ctx, part);
      part.x[0] = part.y;
      at += stage.bytes;
      prepared += round_up(stage.kernel.needs.prepared, kStageAlignment);
    }
  };
  return k;
}

template <class T>
constexpr bool kHasBlocks = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

}  // namespace

bool has_block_kernel(const InvertedResidual& op, const Spec& in, bool by_rule) {
  const Element element = computed_in(op.expand.conv, in);
  if (element != Element::F16 && element != Element::BF16) return false;
  const InvertedResidualProblem p = problem(op, in);
  return by_rule ? cuda::inverted_residual_pays(p) : !cuda::inverted_residual_configs(p).empty();
}

template <class Target>
Kernel Kernels<Target>::operator()(const InvertedResidual& op) const {
  if (query.backward)
    throw UsageError("layer " + node.name + " (" + kind(op) + "): has no gradient");
  if constexpr (Target::kOnDevice && kHasBlocks<T>) {
    const InvertedResidualProblem p = problem(op, query.in[0]);
    const auto chosen = cuda::choose_inverted_residual<T>(tuner, p);
    Kernel k;
    tell(chosen, k.names.forward, k);
    k.needs.forward_scratch = chosen.scratch;
    k.needs.prepared = cuda::inverted_residual_weight_bytes(p);
    k.prepare = [=](std::span<const ConstPlace> params, Place prepared) {
      fill<T>(op, p, params, prepared);
    };
    k.forward = [launch = chosen.launch](const StepContext& ctx, const ForwardIo& io) {
      launch(ctx.queue.stream, io.x[0].address, io.prepared.address, io.scratch.address,
             io.y.as<T>());
    };
    return k;
  } else if constexpr (!Target::kOnDevice) {
    return one_by_one<Target>(op, query);
  } else {
    throw UsageError("layer " + node.name + " (" + kind(op) +
                     "): devices have it in 16 bits alone");
  }
}

#define DF_INSTANTIATE(Target) \
  template Kernel Kernels<Target>::operator()(const InvertedResidual&) const
DF_FOR_EACH_TARGET(DF_INSTANTIATE);
#undef DF_INSTANTIATE

}  // namespace dfengine
