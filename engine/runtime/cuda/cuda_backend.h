// A CUDA device as a backend: two queues, its memory, captured graphs, and kernels chosen by time
// or by the rule.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/runtime/backend.h"
#include "engine/runtime/kernels.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tuning/tuner.h"

namespace dfengine {

// Of activations, their gradients and the weights that convolutions read. Sums, statistics, the
// head, the loss, master weights and moments are float in all of them.
enum class Precision { Fp16, Bf16, Fp32 };
template <>
inline constexpr auto enum_names<Precision> = names_for<Precision>(
    "precision", {{"fp16", Precision::Fp16}, {"bf16", Precision::Bf16}, {"fp32", Precision::Fp32}});
Element element_of(Precision precision);

struct DeviceConfig {
  Precision precision = Precision::Fp16;
  // Replay steps as CUDA graphs; false: launch kernel by kernel. The same bits for equal choices.
  bool graphs = true;
  // Choose kernels by the rule. Else they are timed when a plan is built: the fastest may be
  // another one in the next process, whose sums then differ in the last bits.
  bool deterministic = false;
  bool operator==(const DeviceConfig&) const = default;
};

// Kernels that ended a process on this machine's device, kept in the cache folder.
cuda::DenyList denied_kernels();

// What devices have kernels for. Base: a KernelMaker, or what is one as well.
template <class Base>
class OfDevices : public Base {
 public:
  bool loads_norms() const override { return true; }
  bool loads_pixels(const Convolution& op) const override {
    return has_pixels_kernel(op, op.normalize->element);
  }
  bool makes_moments(const Convolution& op, const Spec& in) const override {
    return has_moments_kernel(op, in);
  }
  bool makes_gradient_sums(const Convolution& op, const Spec& in) const override {
    return has_gradient_sums_kernel(op, in);
  }
  bool loads_gradient(const Convolution& op, const Spec& in) const override {
    return has_gradient_on_load_kernel(op, in);
  }
  bool recomputes_expansion(const ExpandDepthwise& op, const Spec& in) const override {
    return has_expand_depthwise_kernel(op, in, tuner());
  }
  std::vector<std::string> left_out() const override {
    return tuner() == nullptr ? std::vector<std::string>() : tuner()->failed();
  }
  bool has_block(const InvertedResidual& op, const Spec& in) const override {
    return has_block_kernel(op, in, tuner() == nullptr);
  }

 protected:
  virtual cuda::Tuner* tuner() const = 0;  // null: kernels are chosen by the rule
};

// Makes kernels for a device's plans without a device: chosen by the rule, for looking at.
class CudaKernelMaker : public OfDevices<KernelMaker> {
 public:
  explicit CudaKernelMaker(cuda::Tuner* tuner = nullptr) : tuner_(tuner) {}
  Kernel make(const Node& node, const KernelQuery& query) const override;

 protected:
  cuda::Tuner* tuner() const override { return tuner_; }

 private:
  cuda::Tuner* tuner_;
};

class CudaBackend final : public OfDevices<Backend> {
 public:
  // number: of processes of the same run that were started on this machine before. Throws
  // DeviceError where there is no device.
  explicit CudaBackend(const DeviceConfig& config, int number = 0);
  ~CudaBackend() override;

  const DeviceConfig& config() const { return config_; }
  cuda::Stream compute() const { return compute_.get(); }

  Kernel make(const Node& node, const KernelQuery& query) const override;
  std::optional<double> microseconds(const Node& node, const KernelQuery& query) const override;

  DeviceKind kind() const override { return DeviceKind::Cuda; }
  Element element() const override { return element_of(config_.precision); }
  Index alignment() const override { return 64; }
  // Enough pictures to fill a large GPU; smaller calls take the next power of two, with unused rows
  // at the end.
  Index inference_batch(Index n) const override;
  void on_this_thread(const std::function<void()>& body) const override;
  int steps_between_reads() const override { return 16; }

  OwnedMemory allocate(Index bytes) const override;
  Queue queue() const override { return {.stream = compute_.get()}; }
  void upload(void* to, const void* from, Index bytes) const override;
  void download(void* to, const void* from, Index bytes) const override;
  void copy(void* to, const void* from, Index bytes) const override;
  void synchronize() const override;
  std::unique_ptr<Feed> make_feed(Index bytes) const override;
  std::function<void()> capture(std::function<void()> body) const override;

  double milliseconds(const std::function<void()>& body) const override;

  void record(Index n, ConstPlace logits, ConstPlace targets, ConstPlace loss,
              const StepScalars* scalars, StepRecord* records) const override;
  void record_sums(const double* sums, Index whole, const StepScalars* scalars,
                   StepRecord* records) const override;
  void check_finite(ConstPlace values, Index count, StepScalars* scalars) const override;
  std::function<void()> make_update(const Update& update) const override;
  void add_gradients(Index count, ConstPlace gradients, Place sum) const override;
  void take_gradients(Index count, const StepInput* input, Place sum,
                      Place gradients) const override;
  void clip_gradients(Index count, double most, const StepScalars* scalars, Place scratch,
                      Place gradients) const override;
  void move_average(Index count, const StepInput* input, const StepScalars* scalars,
                    ConstPlace values, Place average) const override;
  void finish(StepScalars* scalars) const override;
  void wait(StepScalars* scalars) const override;
  void cast(Index count, ConstPlace values, Place working) const override;

 protected:
  cuda::Tuner* tuner() const override { return tuner_.get(); }

 private:
  DeviceConfig config_;
  int device_ = 0;
  cuda::OwnedStream compute_, copy_;
  std::unique_ptr<cuda::Tuner> tuner_;
  mutable std::map<std::string, std::optional<double>> node_times_;
};

}  // namespace dfengine
