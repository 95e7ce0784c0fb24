// The parameters of a graph in a backend's memory: values, copies in the activations' element, and for training
// gradients, the next values of running statistics and Adam's moments. Learned parameters come
// first, as in the store; each begins at a multiple of the backend's alignment, so that kernels can
// load vectors.
#pragma once

#include "engine/runtime/backend.h"
#include "engine/runtime/parameter_store.h"

namespace dfengine {

// Adam's moments in host memory, laid out as the learned parameters of a store.
struct Moments {
  std::vector<float> first, second;
};

class ParameterBlock {
 public:
  // Takes the values of the graph's parameters from `store`, which is one of the backend's
  // parameter_element(), else Error; so it is for a parameter that is missing or of another size.
  // training: gradients and moments too, zero.
  ParameterBlock(const Graph& graph, const ParameterStore& store, const Backend& backend,
                 bool training);

  // All wait. store is the one given above, or of the same shape; what is not in the graph stays as
  // it is, and has moments of zero.
  void upload(const ParameterStore& store);
  void download(ParameterStore& store) const;
  void upload(const ParameterStore& store, const Moments& moments);
  Moments moments(const ParameterStore& store) const;

  // Where parameter i of the store lies; absent for one that is not in the graph. gradient: learned
  // ones; next: running statistics.
  ConstPlace value(int i) const;
  ConstPlace working(int i) const;  // in the backend's element
  Place gradient(int i) const;
  Place next(int i) const;

  // The update of the named parameters and of all running statistics; decay is for weights alone.
  Update update(const ParameterStore& store, const std::vector<ParamSpec>& trained,
                const AdamProblem& adam, double weight_decay) const;
  // The gradients of all learned parameters and the next running statistics, as blocks.
  Place gradients() const { return {gradients_.get()}; }
  Place next() const { return {next_.get()}; }
  Index learned_count() const { return learned_; }
  Index statistics_count() const { return count_ - learned_; }
  Index bytes() const;

 private:
  void to_backend(const ParameterStore& store, const std::byte* from, bool learned_only,
                  std::byte* block) const;
  void to_host(const ParameterStore& store, const std::byte* block, bool learned_only,
               std::byte* to) const;
  Index size(Index count) const { return count * element_size(backend_.parameter_element()); }

  const Backend& backend_;
  bool training_;
  static constexpr Index kAbsent = -1;

  std::vector<Index> offsets_;  // by position in the store, in elements
  Index learned_ = 0, count_ = 0;
  OwnedMemory values_, working_, gradients_, next_, first_, second_;
};

}  // namespace dfengine
