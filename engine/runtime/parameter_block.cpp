#include "engine/runtime/parameter_block.h"

#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {

ParameterBlock::ParameterBlock(const Graph& graph, const ParameterStore& store,
                               const Backend& backend, const Trainable& trainable)
    : store_(store),
      backend_(backend),
      offsets_(store.specs().size(), kAbsent),
      moves_(store.specs().size(), false) {
  if (store.element() != backend.parameter_element())
    throw Error("parameters and what computes with them differ in element type");
  lay_out(graph, trainable);
  if (!backend.computes_in_host_memory()) values_ = backend.allocate(size(all_.count()));
  if (backend.working_element() != backend.parameter_element())
    working_ = backend.allocate(all_.count() * element_size(backend.working_element()));
  gradients_ = backend.allocate(size(trained_.count()));
  first_ = backend.allocate(size(trained_.count()));
  second_ = backend.allocate(size(trained_.count()));
  next_ = backend.allocate(size(statistics_.count()));
  upload();
}

void ParameterBlock::lay_out(const Graph& graph, const Trainable& trainable) {
  std::vector<bool> used(offsets_.size(), false);
  for (const Node& node : graph.nodes()) {
    const bool node_moves = trainable && moves(node, trainable);
    for (const ParamSpec& p : params(node.operation, node.name)) {
      const int i = store_.find(p.name);
      if (i < 0 || store_.specs()[at(i)].count() != p.count())
        throw Error("no parameter " + p.name + " of that size");
      used[at(i)] = true;
      if (node_moves && (!is_learned(p.role) || trainable(p))) moves_[at(i)] = true;
    }
  }
  for (int i = 0; i < std::ssize(used); ++i) {
    if (!used[at(i)]) continue;
    const ParamSpec& p = store_.specs()[at(i)];
    const Index begin = backend_.computes_in_host_memory() ? store_.offset(i) : all_.end;
    const Index end = begin + round_up(p.count(), backend_.alignment());
    offsets_[at(i)] = begin;
    all_.end = end;
    if (moves_[at(i)]) (is_learned(p.role) ? trained_ : statistics_).cover(begin, end);
  }
}

// Through one buffer with the block's gaps.
void ParameterBlock::to_backend(const std::byte* from, const Range& range, std::byte* block) const {
  std::vector<std::byte> staging(at(size(range.count())));
  for (int i = 0; i < std::ssize(offsets_); ++i) {
    if (!within(i, range)) continue;
    std::memcpy(staging.data() + size(offsets_[at(i)] - range.begin), from + size(store_.offset(i)),
                at(size(store_.specs()[at(i)].count())));
  }
  backend_.upload(block, staging.data(), std::ssize(staging));
  backend_.synchronize();
}

void ParameterBlock::to_host(const std::byte* block, const Range& range, std::byte* to) const {
  std::vector<std::byte> staging(at(size(range.count())));
  backend_.download(staging.data(), block, std::ssize(staging));
  backend_.synchronize();
  for (int i = 0; i < std::ssize(offsets_); ++i) {
    if (!within(i, range)) continue;
    std::memcpy(to + size(store_.offset(i)), staging.data() + size(offsets_[at(i)] - range.begin),
                at(size(store_.specs()[at(i)].count())));
  }
}

void ParameterBlock::upload() {
  if (values_) to_backend(store_.data(), all_, values_.get());
  // The next running statistics of batch norms that do not run are the present ones.
  backend_.copy(next_.get(), values() + size(statistics_.begin), size(statistics_.count()));
  if (working_) backend_.cast(all_.count(), {values()}, {working_.get()});
  backend_.synchronize();
}

void ParameterBlock::download(ParameterStore& to) const {
  to_host(values(), all_, to.data());
}

void ParameterBlock::upload(const Moments& moments) {
  to_backend(std::as_bytes(std::span(moments.first)).data(), trained_, first_.get());
  to_backend(std::as_bytes(std::span(moments.second)).data(), trained_, second_.get());
}

Moments ParameterBlock::moments() const {
  const std::vector<float> zero(at(store_.learned_count()));
  Moments moments{zero, zero};
  to_host(first_.get(), trained_, std::as_writable_bytes(std::span(moments.first)).data());
  to_host(second_.get(), trained_, std::as_writable_bytes(std::span(moments.second)).data());
  return moments;
}

void ParameterBlock::upload_average(std::span<const float> average) {
  if (!average_) average_ = backend_.allocate(size(all_.count()));
  to_backend(std::as_bytes(average).data(), all_, average_.get());
}

void ParameterBlock::download_average(std::span<float> to) const {
  to_host(average_.get(), all_, std::as_writable_bytes(to).data());
}

ConstPlace ParameterBlock::value(int i) const {
  if (offsets_[at(i)] == kAbsent) return {};
  return {values() + size(offsets_[at(i)])};
}

ConstPlace ParameterBlock::working(int i) const {
  if (!working_ || offsets_[at(i)] == kAbsent) return value(i);
  return {working_.get() + offsets_[at(i)] * element_size(backend_.working_element())};
}

Place ParameterBlock::gradient(int i) const {
  if (!moves_[at(i)] || !within(i, trained_)) return {};
  return {gradients_.get() + size(offsets_[at(i)] - trained_.begin)};
}

Place ParameterBlock::next(int i) const {
  if (!moves_[at(i)] || !within(i, statistics_)) return {};
  return {next_.get() + size(offsets_[at(i)] - statistics_.begin)};
}

Update ParameterBlock::update(ParameterStore& store, const AdamProblem& adam, double weight_decay,
                              const std::function<double(const ParamSpec&)>& rate) const {
  std::vector<UpdateRange> ranges;
  for (int i = 0; i < std::ssize(moves_); ++i) {
    if (!moves_[at(i)]) continue;
    const ParamSpec& p = store_.specs()[at(i)];
    const UpdateRange range{.offset = offsets_[at(i)] - trained_.begin,
                            .count = p.count(),
                            .weight_decay = p.role == Role::Weight ? weight_decay : 0,
                            .rate = rate && is_learned(p.role) ? rate(p) : 1,
                            .commit = !is_learned(p.role)};
    UpdateRange* last = ranges.empty() ? nullptr : &ranges.back();
    if (last != nullptr && last->offset + last->count == range.offset &&
        last->weight_decay == range.weight_decay && last->rate == range.rate &&
        last->commit == range.commit) {
      last->count += range.count;
    } else {
      ranges.push_back(range);
    }
  }
  std::byte* values = values_ ? values_.get() : store.data();
  std::byte* working =
      working_ ? working_.get() + trained_.begin * element_size(backend_.working_element())
               : nullptr;
  return {.adam = adam,
          .ranges = std::move(ranges),
          .gradients = gradients(),
          .next = next(),
          .statistics = statistics_.begin - trained_.begin,
          .values = {values + size(trained_.begin)},
          .first_moment = {first_.get()},
          .second_moment = {second_.get()},
          .working = {working}};
}

Index ParameterBlock::bytes() const {
  return (values_ ? size(all_.count()) : 0) + size(3 * trained_.count() + statistics_.count()) +
         (average_ ? size(all_.count()) : 0) +
         (working_ ? all_.count() * element_size(backend_.working_element()) : 0);
}

}  // namespace dfengine
