#include "engine/runtime/session.h"

#include "kernels/base/error.h"

namespace dfengine {

Session::Session(const Graph& graph, std::vector<Spec> samples, PlanOptions options,
                 const ParameterBlock& parameters)
    : graph_(with_element(graph, parameters.backend().element())),
      samples_(std::move(samples)),
      options_(std::move(options)),
      parameters_(parameters),
      backend_(parameters.backend()) {}

Plan Session::plan(Index n) const {
  std::vector<Spec> specs = samples_;
  for (Spec& s : specs) s.shape.n = n;
  return Plan::build(graph_, specs, options_, backend_);
}

std::unique_ptr<Session::Bound> Session::make(Index n) const {
  auto bound = std::make_unique<Bound>(Bound{plan(n), nullptr, nullptr, {}});
  bound->prepared = backend_.allocate(bound->plan.prepared_bytes());
  prepare(*bound);
  return bound;
}

std::unique_ptr<Binding> Session::bind(const Bound& bound, std::byte* arena) const {
  return std::make_unique<Binding>(bound.plan, parameters_, arena, bound.prepared.get());
}

// Moves every plan to a larger arena: all or none.
void Session::grow(Index bytes) {
  if (bytes <= arena_bytes_) return;
  OwnedMemory larger = backend_.allocate(bytes);
  std::vector<std::pair<Bound*, std::unique_ptr<Binding>>> moved;
  for (auto& [n, bound] : kept_) moved.emplace_back(bound.get(), bind(*bound, larger.get()));
  if (last_) moved.emplace_back(last_.get(), bind(*last_, larger.get()));
  backend_.synchronize();  // what is queued still uses the old one
  for (auto& [bound, binding] : moved) {
    bound->binding = std::move(binding);
    bound->replay = {};
  }
  arena_ = std::move(larger);
  arena_bytes_ = bytes;
}

Session::Bound& Session::bound(Index n) {
  const auto found = kept_.find(n);
  if (found != kept_.end()) return *found->second;
  if (last_ && last_n_ == n) return *last_;
  if (n < 1) throw UsageError("a batch of " + std::to_string(n) + ": it has at least one sample");
  std::unique_ptr<Bound> made = make(n);
  grow(made->plan.arena_bytes());
  made->binding = bind(*made, arena_.get());
  backend_.synchronize();  // the plan that goes may still run
  last_ = std::move(made);
  last_n_ = n;
  return *last_;
}

void Session::reserve(Index n) {
  if (kept_.contains(n)) return;
  bound(n);
  kept_[n] = std::move(last_);
}

Session::Lane Session::lane(Index n) const {
  const Bound& bound = *kept_.at(n);
  const Index bytes = bound.plan.arena_bytes();
  OwnedMemory arena = backend_.allocate(bytes);
  std::unique_ptr<Binding> binding = bind(bound, arena.get());
  return {std::move(arena), bytes, std::move(binding)};
}

void Session::prepare(Bound& bound) const {
  const Plan& plan = bound.plan;
  if (plan.prepared_bytes() == 0) return;
  const ParameterStore& store = parameters_.store();
  // 16-byte aligned, as vectors of bytes are.
  std::vector<std::byte> staging(at(plan.prepared_bytes()));
  for (int i = 0; i < plan.forward_steps(); ++i) {
    if (plan.kernel(i).needs.prepared == 0) continue;
    std::vector<ConstPlace> values;
    for (const ParamSpec& p : params(plan.node(i).operation, plan.node(i).name)) {
      const int index = store.find(p.name);
      if (index < 0) throw Error("layer " + plan.node(i).name + ": no parameter " + p.name);
      values.push_back({store.value(index)});
    }
    plan.kernel(i).prepare(values, {staging.data() + plan.prepared_offset(i)});
  }
  backend_.upload(bound.prepared.get(), staging.data(), plan.prepared_bytes());
  backend_.synchronize();
}

void Session::prepare() {
  for (auto& [n, bound] : kept_) prepare(*bound);
  if (last_) prepare(*last_);
}

void Session::launch(Bound& bound, const std::function<void()>& body, std::size_t kind) const {
  std::function<void()>& replay = bound.replay.at(kind);
  if (replay) return replay();
  // The first run loads the kernels, which a capture must not do.
  body();
  replay = backend_.capture(body);
}

void Session::forget_captured() {
  for (auto& [n, bound] : kept_) bound->replay = {};
  if (last_) last_->replay = {};
}

Index Session::bytes() const {
  Index total = arena_bytes_;
  for (const auto& [n, bound] : kept_) total += bound->plan.prepared_bytes();
  return total + (last_ ? last_->plan.prepared_bytes() : 0);
}

}  // namespace dfengine
