#include "engine/train/optimizer.h"

#include <algorithm>

#include "kernels/adam.h"

namespace dfengine {

Optimizer::Optimizer(ParameterStore& parameters, const std::vector<ParamSpec>& trained,
                     OptimizerKind kind, double weight_decay)
    : parameters_(parameters), kind_(kind) {
  const Index bytes = parameters.learned_count() * element_size(parameters.element());
  gradients_ = Memory(bytes);
  first_ = Memory(bytes);
  second_ = Memory(bytes);
  for (std::size_t i = 0; i < parameters.specs().size(); ++i) {
    const ParamSpec& p = parameters.specs()[i];
    const bool moves =
        std::ranges::any_of(trained, [&](const ParamSpec& t) { return t.name == p.name; });
    if (!moves) continue;
    const double decay = p.role == Role::Weight ? weight_decay : 0.0;
    const Index offset = parameters.offset(static_cast<int>(i));
    if (!runs_.empty() && runs_.back().offset + runs_.back().count == offset &&
        runs_.back().decay == decay) {
      runs_.back().count += p.count();
    } else {
      runs_.push_back({offset, p.count(), decay});
    }
  }
}

void Optimizer::update(const cpu::Context& ctx, double lr) {
  AdamProblem problem;
  problem.lr = lr;
  problem.decoupled = kind_ == OptimizerKind::AdamW;
  problem.step = ++steps_;
  with_element(parameters_.element(), [&](auto t) {
    using T = decltype(t);
    for (const Run& run : runs_) {
      problem.weight_decay = run.decay;
      const auto at = [&](std::byte* base) { return reinterpret_cast<T*>(base) + run.offset; };
      cpu::adam_update<T>(ctx, problem, run.count, at(gradients_.data()), at(parameters_.data()),
                          at(first_.data()), at(second_.data()));
    }
  });
}

Index Optimizer::touched_bytes() const {
  Index count = 0;
  for (const Run& run : runs_) count += run.count;
  return 3 * count * element_size(parameters_.element());
}

}  // namespace dfengine
