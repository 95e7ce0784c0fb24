#include "engine/runtime/node_timing.h"

#include <algorithm>

#include "kernels/base/random.h"
#include "kernels/norm_gradient.h"

namespace dfengine {
namespace {

constexpr int kRounds = 7, kLaunches = 4;
constexpr Index kFewNumbers = 1 << 14;

// Memory for one node, filled as its kinds of values are.
class NodeMemory {
 public:
  NodeMemory(const Backend& backend, const Node& node, const KernelQuery& query)
      : backend_(backend), kernel_(backend.make(node, query)) {
    for (const ParamSpec& p : params(node.operation, node.name)) {
      params_.push_back({random(p.count(), Element::F32)});
      working_.push_back({random(p.count(), backend.working_element())});
      gradients_.push_back({block(p.count() * kFloatBytes)});
    }
    forward_.y = {block(query.out.bytes())};
    forward_.saved = {block(kernel_.needs.saved)};
    forward_.scratch = {block(kernel_.needs.forward_scratch)};
    // What is given to be merged is zeros here, which take as long as any.
    forward_.moments = {block(std::max(kernel_.needs.moments, query.moments))};
    backward_.gradient_sums = {block(std::max(kernel_.needs.gradient_sums, query.gradient_sums))};
    backward_.gradient_factors = {
        random(GradientOnLoad::kVectors * query.out.shape.c, Element::F32)};
    forward_.prepared = {block(kernel_.needs.prepared)};
    forward_.params = params_;
    forward_.working = working_;
    forward_.next = gradients_;
    backward_.y = forward_.y;
    const Spec dy = gradient_spec(node.operation, query.in, query.out);
    backward_.dy = {random(dy.shape.count(), dy.element)};
    backward_.saved = forward_.saved;
    backward_.scratch = {block(kernel_.needs.backward_scratch)};
    backward_.params = params_;
    backward_.working = working_;
    backward_.dparams = gradients_;
    for (std::size_t k = 0; k < query.in.size(); ++k) {
      forward_.x[k] = {random(query.in[k].shape.count(), query.in[k].element)};
      backward_.x[k] = forward_.x[k];
      // The gradient of a norm on load has the shape of the input before it.
      if (!query.ends_backward && passes_gradient(node.operation, k))
        backward_.dx[k] = {block(query.in[0].bytes())};
    }
  }

  void run(bool backward) const {
    const StepContext ctx{backend_.queue(), nullptr, nullptr};
    kernel_.forward(ctx, forward_);
    if (backward) kernel_.backward(ctx, backward_);
  }

 private:
  std::byte* block(Index bytes) {
    memory_.push_back(backend_.allocate(bytes));
    return memory_.back().get();
  }

  // Zeros draw less power and run faster than data does. A few numbers over and over are as good as
  // ever new ones, which would take the host seconds to draw.
  std::byte* random(Index count, Element element) {
    const Index few = std::min(count, kFewNumbers), bytes = element_size(element);
    std::vector<float> values(at(few));
    Random numbers(1, RandomStream::Init, memory_.size());
    for (float& v : values) v = static_cast<float>(numbers.bits()) * 0x1p-31f - 1.0f;
    std::byte* const all = block(count * bytes);
    if (element != backend_.element() || element == Element::F32) {
      backend_.upload(all, values.data(), few * bytes);
    } else {
      std::byte* const floats = block(few * kFloatBytes);
      backend_.upload(floats, values.data(), few * kFloatBytes);
      backend_.cast(few, {floats}, {all});
    }
    for (Index done = few; done < count; done *= 2)
      backend_.copy(all + done * bytes, all, std::min(done, count - done) * bytes);
    return all;
  }

  const Backend& backend_;
  Kernel kernel_;
  std::vector<OwnedMemory> memory_;
  std::vector<ConstPlace> params_, working_;
  std::vector<Place> gradients_;
  ForwardIo forward_;
  BackwardIo backward_;
};

}  // namespace

std::optional<double> time_node(const Backend& backend, const Node& node,
                                const KernelQuery& query) {
  std::optional<NodeMemory> memory;
  try {
    memory.emplace(backend, node, query);
  } catch (const OutOfDeviceMemory&) {
    return std::nullopt;
  }
  memory->run(query.backward);  // loads the kernels
  const auto launches = backend.capture([&] {
    for (int i = 0; i < kLaunches; ++i) memory->run(query.backward);
  });
  std::vector<double> taken;
  for (int round = 0; round < kRounds; ++round) {
    launches();  // meanwhile the next ones are queued: the clock does not wait for the host
    taken.push_back(1e3 * backend.milliseconds(launches) / kLaunches);
  }
  std::ranges::nth_element(taken, taken.begin() + kRounds / 2);
  return taken[kRounds / 2];
}

}  // namespace dfengine
