// The parameters of a graph where a backend reads them: values, copies in the activations' element,
// and for training gradients, the next values of running statistics and Adam's moments. Learned
// parameters come first, as in the store; each begins at a multiple of the backend's alignment, so
// that kernels can load vectors.
#pragma once

#include <functional>
#include <span>

#include "engine/runtime/backend.h"
#include "engine/runtime/parameter_store.h"
#include "layers/rewrites.h"

namespace dfengine {

// Adam's moments in host memory, laid out as the learned parameters of a store.
struct Moments {
  std::vector<float> first, second;
};

class ParameterBlock {
 public:
  // Takes the values of the graph's parameters from `store`, which is one of the backend's
  // parameter_element(), else Error; so it is for a parameter that is missing or of another size.
  // Where the backend computes in host memory they stay in the store, and are its present ones.
  // trainable: gradients and moments of what it names, zero, and next values of the running
  // statistics that move with it. Without it the block is for inference. store and backend must
  // outlive it.
  ParameterBlock(const Graph& graph, const ParameterStore& store, const Backend& backend,
                 const Trainable& trainable = {});

  const ParameterStore& store() const { return store_; }
  const Backend& backend() const { return backend_; }

  // All wait. Values: from the store, and to one of the same shape, whose other parameters stay as
  // they are. Moments: what is not trained has none, they are zero.
  void upload();
  void download(ParameterStore& to) const;
  void upload(const Moments& moments);
  Moments moments() const;
  // A moving average of the values, which the first upload makes room for; laid out as the store.
  // What is not in the graph stays as it is in `to`.
  void upload_average(std::span<const float> average);
  void download_average(std::span<float> to) const;

  // Where parameter i of the store lies; absent for one that is not in the graph. gradient: trained
  // ones; next: running statistics that move.
  ConstPlace value(int i) const;
  ConstPlace working(int i) const;  // in the backend's working_element()
  Place gradient(int i) const;
  Place next(int i) const;

  // The update of what is trained and of the running statistics that move; decay is for weights
  // alone, rate tells each parameter's part of the learning rate, where it is given. store is the
  // block's own, named again because steps may write its values.
  Update update(ParameterStore& store, const AdamProblem& adam, double weight_decay,
                const std::function<double(const ParamSpec&)>& rate = {}) const;
  // All gradients and all next running statistics, as blocks.
  Place gradients() const { return {gradients_.get()}; }
  Place next() const { return {next_.get()}; }
  // All values and their average, as blocks.
  ConstPlace all_values() const { return {values()}; }
  Place average() const { return {average_.get()}; }
  Index value_count() const { return all_.count(); }
  Index gradient_count() const { return trained_.count(); }
  Index next_count() const { return statistics_.count(); }
  // Those of the store are not counted.
  Index bytes() const;

 private:
  // Elements of the values' block.
  struct Range {
    Index begin = 0, end = 0;
    Index count() const { return end - begin; }
    void cover(Index first, Index last) {
      if (end == 0) begin = first;
      end = last;
    }
  };
  static constexpr Index kAbsent = -1;

  void lay_out(const Graph& graph, const Trainable& trainable);
  bool within(int i, const Range& range) const {
    return offsets_[at(i)] != kAbsent && offsets_[at(i)] >= range.begin &&
           offsets_[at(i)] < range.end;
  }
  const std::byte* values() const { return values_ ? values_.get() : store_.data(); }
  // from and to are laid out as the store; block holds this range.
  void to_backend(const std::byte* from, const Range& range, std::byte* block) const;
  void to_host(const std::byte* block, const Range& range, std::byte* to) const;
  Index size(Index count) const { return count * element_size(backend_.parameter_element()); }

  const ParameterStore& store_;
  const Backend& backend_;
  std::vector<Index> offsets_;        // by position in the store, in elements
  std::vector<bool> moves_;           // by position in the store
  Range all_, trained_, statistics_;  // from the first that moves to the last
  OwnedMemory values_, working_, gradients_, next_, first_, second_, average_;
};

}  // namespace dfengine
