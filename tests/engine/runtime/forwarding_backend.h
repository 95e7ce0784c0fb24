// A backend that does what another one does: tests derive from it what shall differ.
#pragma once

#include "engine/runtime/backend.h"

namespace dfengine::test {

class ForwardingBackend : public Backend {
 public:
  // `to` must outlive it.
  explicit ForwardingBackend(const Backend& to) : to_(to) {}

  Kernel make(const Node& node, const KernelQuery& query) const override {
    return to_.make(node, query);
  }
  bool loads_norms() const override { return to_.loads_norms(); }
  bool loads_pixels(const Convolution& op) const override { return to_.loads_pixels(op); }
  bool makes_moments(const Convolution& op, const Spec& in) const override {
    return to_.makes_moments(op, in);
  }
  bool makes_gradient_sums(const Convolution& op, const Spec& in) const override {
    return to_.makes_gradient_sums(op, in);
  }
  bool loads_gradient(const Convolution& op, const Spec& in) const override {
    return to_.loads_gradient(op, in);
  }
  bool recomputes_expansion(const ExpandDepthwise& op, const Spec& in) const override {
    return to_.recomputes_expansion(op, in);
  }
  bool has_block(const InvertedResidual& op, const Spec& in) const override {
    return to_.has_block(op, in);
  }
  std::vector<std::string> left_out() const override { return to_.left_out(); }
  std::optional<double> microseconds(const Node& node, const KernelQuery& query) const override {
    return to_.microseconds(node, query);
  }

  DeviceKind kind() const override { return to_.kind(); }
  Element element() const override { return to_.element(); }
  Element working_element() const override { return to_.working_element(); }
  Element parameter_element() const override { return to_.parameter_element(); }
  bool computes_in_host_memory() const override { return to_.computes_in_host_memory(); }
  Index alignment() const override { return to_.alignment(); }
  Index inference_batch(Index n) const override { return to_.inference_batch(n); }
  int lanes() const override { return to_.lanes(); }
  void side_by_side(Index n, const LaneBody& body) const override { to_.side_by_side(n, body); }
  int steps_between_reads() const override { return to_.steps_between_reads(); }

  OwnedMemory allocate(Index bytes) const override { return to_.allocate(bytes); }
  Queue queue() const override { return to_.queue(); }
  void upload(void* to, const void* from, Index bytes) const override {
    to_.upload(to, from, bytes);
  }
  void download(void* to, const void* from, Index bytes) const override {
    to_.download(to, from, bytes);
  }
  void copy(void* to, const void* from, Index bytes) const override { to_.copy(to, from, bytes); }
  void synchronize() const override { to_.synchronize(); }
  std::unique_ptr<Feed> make_feed(Index bytes) const override { return to_.make_feed(bytes); }
  std::function<void()> capture(std::function<void()> body) const override {
    return to_.capture(std::move(body));
  }
  double milliseconds(const std::function<void()>& body) const override {
    return to_.milliseconds(body);
  }

  void record(Index n, ConstPlace logits, ConstPlace targets, ConstPlace loss,
              const StepScalars* scalars, StepRecord* records) const override {
    to_.record(n, logits, targets, loss, scalars, records);
  }
  void record_sums(const double* sums, Index whole, const StepScalars* scalars,
                   StepRecord* records) const override {
    to_.record_sums(sums, whole, scalars, records);
  }
  void check_finite(ConstPlace values, Index count, StepScalars* scalars) const override {
    to_.check_finite(values, count, scalars);
  }
  std::function<void()> make_update(const Update& update) const override {
    return to_.make_update(update);
  }
  void add_gradients(Index count, ConstPlace gradients, Place sum) const override {
    to_.add_gradients(count, gradients, sum);
  }
  void take_gradients(Index count, const StepInput* input, Place sum,
                      Place gradients) const override {
    to_.take_gradients(count, input, sum, gradients);
  }
  void clip_gradients(Index count, double most, const StepScalars* scalars, Place scratch,
                      Place gradients) const override {
    to_.clip_gradients(count, most, scalars, scratch, gradients);
  }
  void move_average(Index count, const StepInput* input, const StepScalars* scalars,
                    ConstPlace values, Place average) const override {
    to_.move_average(count, input, scalars, values, average);
  }
  void finish(StepScalars* scalars) const override { to_.finish(scalars); }
  void wait(StepScalars* scalars) const override { to_.wait(scalars); }
  void cast(Index count, ConstPlace values, Place working) const override {
    to_.cast(count, values, working);
  }

 private:
  const Backend& to_;
};

}  // namespace dfengine::test
