#include "engine/runtime/parameter_block.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "kernels/base/error.h"

namespace dfengine {

ParameterBlock::ParameterBlock(const Graph& graph, const ParameterStore& store,
                               const Backend& backend, bool training)
    : backend_(backend), training_(training), offsets_(store.specs().size(), kAbsent) {
  std::vector<bool> used(store.specs().size(), false);
  for (const ParamSpec& p : graph.params()) {
    const int i = store.find(p.name);
    if (i < 0 || store.specs()[at(i)].count() != p.count())
      throw Error("no parameter " + p.name + " of that size");
    used[at(i)] = true;
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    const ParamSpec& p = store.specs()[i];
    offsets_[i] = count_;
    count_ += round_up(p.count(), backend.alignment());
    if (is_learned(p.role)) learned_ = count_;
  }
  values_ = backend.allocate(size(count_));
  if (backend.element() != backend.parameter_element())
    working_ = backend.allocate(count_ * element_size(backend.element()));
  if (training) {
    gradients_ = backend.allocate(size(learned_));
    next_ = backend.allocate(size(count_ - learned_));
    first_ = backend.allocate(size(learned_));
    second_ = backend.allocate(size(learned_));
  }
  upload(store);
}

// Through one buffer with the block's gaps; `from` is laid out as the store.
void ParameterBlock::to_backend(const ParameterStore& store, const std::byte* from,
                                bool learned_only, std::byte* block) const {
  std::vector<std::byte> staging(at(size(learned_only ? learned_ : count_)));
  for (int i = 0; i < std::ssize(store.specs()); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    if (offsets_[at(i)] == kAbsent || (learned_only && !is_learned(p.role))) continue;
    std::memcpy(staging.data() + size(offsets_[at(i)]), from + size(store.offset(i)),
                at(size(p.count())));
  }
  backend_.upload(block, staging.data(), std::ssize(staging));
  backend_.synchronize();
}

void ParameterBlock::to_host(const ParameterStore& store, const std::byte* block, bool learned_only,
                             std::byte* to) const {
  std::vector<std::byte> staging(at(size(learned_only ? learned_ : count_)));
  backend_.download(staging.data(), block, std::ssize(staging));
  backend_.synchronize();
  for (int i = 0; i < std::ssize(store.specs()); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    if (offsets_[at(i)] == kAbsent || (learned_only && !is_learned(p.role))) continue;
    std::memcpy(to + size(store.offset(i)), staging.data() + size(offsets_[at(i)]),
                at(size(p.count())));
  }
}

void ParameterBlock::upload(const ParameterStore& store) {
  if (store.element() != backend_.parameter_element())
    throw Error("parameters and what computes with them differ in element type");
  to_backend(store, store.data(), false, values_.get());
  // The next running statistics of batch norms that do not run are the present ones.
  if (training_)
    backend_.copy(next_.get(), values_.get() + size(learned_), size(count_ - learned_));
  if (working_) backend_.cast(count_, {values_.get()}, {working_.get()});
  backend_.synchronize();
}

void ParameterBlock::download(ParameterStore& store) const {
  to_host(store, values_.get(), false, store.data());
}

void ParameterBlock::upload(const ParameterStore& store, const Moments& moments) {
  to_backend(store, std::as_bytes(std::span(moments.first)).data(), true, first_.get());
  to_backend(store, std::as_bytes(std::span(moments.second)).data(), true, second_.get());
}

Moments ParameterBlock::moments(const ParameterStore& store) const {
  const std::vector<float> zero(at(store.learned_count()));
  Moments moments{zero, zero};
  to_host(store, first_.get(), true, std::as_writable_bytes(std::span(moments.first)).data());
  to_host(store, second_.get(), true, std::as_writable_bytes(std::span(moments.second)).data());
  return moments;
}

ConstPlace ParameterBlock::value(int i) const {
  if (offsets_[at(i)] == kAbsent) return {};
  return {values_.get() + size(offsets_[at(i)])};
}

ConstPlace ParameterBlock::working(int i) const {
  if (!working_ || offsets_[at(i)] == kAbsent) return value(i);
  return {working_.get() + offsets_[at(i)] * element_size(backend_.element())};
}

Place ParameterBlock::gradient(int i) const {
  if (!training_ || offsets_[at(i)] == kAbsent || offsets_[at(i)] >= learned_) return {};
  return {gradients_.get() + size(offsets_[at(i)])};
}

Place ParameterBlock::next(int i) const {
  if (!training_ || offsets_[at(i)] < learned_) return {};
  return {next_.get() + size(offsets_[at(i)] - learned_)};
}

Update ParameterBlock::update(const ParameterStore& store, const std::vector<ParamSpec>& trained,
                              const AdamProblem& adam, double weight_decay) const {
  std::unordered_set<std::string_view> moves;
  for (const ParamSpec& p : trained) moves.insert(p.name);
  std::vector<UpdateRange> ranges;
  for (int i = 0; i < std::ssize(store.specs()); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    const bool learned = is_learned(p.role);
    if (offsets_[at(i)] == kAbsent || (learned && !moves.contains(p.name))) continue;
    const UpdateRange range{.offset = offsets_[at(i)],
                            .count = p.count(),
                            .weight_decay = p.role == Role::Weight ? weight_decay : 0,
                            .commit = !learned};
    UpdateRange* last = ranges.empty() ? nullptr : &ranges.back();
    if (last != nullptr && last->offset + last->count == range.offset &&
        last->weight_decay == range.weight_decay && last->commit == range.commit) {
      last->count += range.count;
    } else {
      ranges.push_back(range);
    }
  }
  return {.adam = adam,
          .ranges = std::move(ranges),
          .gradients = gradients(),
          .next = next(),
          .learned = learned_,
          .values = {values_.get()},
          .first_moment = {first_.get()},
          .second_moment = {second_.get()},
          .working = {working_.get()}};
}

Index ParameterBlock::bytes() const {
  const Index training = training_ ? size(3 * learned_ + count_ - learned_) : 0;
  return size(count_) + training + (working_ ? count_ * element_size(backend_.element()) : 0);
}

}  // namespace dfengine
