// Where parameters live: one contiguous block, learned ones first (one run for the optimiser),
// running statistics behind them.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>

#include "kernels/base/memory.h"
#include "layers/parameter.h"
#include "layers/spec.h"

namespace dfengine {

class ParameterStore {
 public:
  // Values start at each parameter's Init, drawn from (seed, position of the parameter).
  ParameterStore(std::vector<ParamSpec> specs, Element element, std::uint64_t seed);

  // Learned parameters first.
  const std::vector<ParamSpec>& specs() const { return specs_; }
  Element element() const { return element_; }
  // Position of a name, or -1.
  int find(std::string_view name) const;
  // First element of a parameter inside the block.
  Index offset(int i) const { return offsets_[static_cast<std::size_t>(i)]; }
  // Elements of all learned parameters; the optimiser's state has this many.
  Index learned_count() const { return learned_count_; }
  Index total_count() const { return total_count_; }
  Index bytes() const { return memory_.bytes(); }

  // All values of a store of floats.
  std::span<float> floats() {
    return {reinterpret_cast<float*>(memory_.data()), static_cast<std::size_t>(total_count_)};
  }
  std::byte* data() { return memory_.data(); }
  const std::byte* data() const { return memory_.data(); }
  void* value(int i) { return memory_.data() + offset(i) * element_size(element_); }
  const void* value(int i) const { return memory_.data() + offset(i) * element_size(element_); }

  // Copies in the file's order (torch's) to and from the layer's layout. Sizes must equal
  // specs()[i].count(), else ShapeError.
  void set(int i, std::span<const float> file_order);
  void set(int i, std::span<const double> file_order);
  std::vector<float> get(int i) const;

 private:
  std::vector<ParamSpec> specs_;
  Element element_;
  std::vector<Index> offsets_;
  std::unordered_map<std::string, int> index_;
  Index learned_count_ = 0;
  Index total_count_ = 0;
  Memory memory_;
};

}  // namespace dfengine
