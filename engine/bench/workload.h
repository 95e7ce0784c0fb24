// The kinds of work a network is timed at, and random data for them.
#pragma once

#include <string>
#include <vector>

#include "engine/model/model.h"
#include "engine/runtime/training.h"
#include "engine/train/schedule.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

// Infer   pictures -> logits, batch norm folded
// Train   a whole training step: forward, loss, backward, Adam, of all parameters
// Frozen  the same with the base frozen, in inference form: the first epoch of a frozen base
// Head    a training step of the head on known features: the later epochs
enum class Work { Infer, Train, Frozen, Head };
template <>
inline constexpr auto enum_names<Work> = names_for<Work>("work", {{"infer", Work::Infer},
                                                                  {"train", Work::Train},
                                                                  {"frozen", Work::Frozen},
                                                                  {"head", Work::Head}});

// What is timed, and where.
struct BenchTarget {
  // of: a network with a detector's head. decoding: the threads that decode pictures.
  BenchTarget(const NetworkConfig& of, ThreadPool& decoding, const Backend& on, int times = 5)
      : config(of), network(make_network(of)), pool(decoding), backend(on), rounds(times) {}

  NetworkConfig config;
  Network network;
  ThreadPool& pool;
  const Backend& backend;
  int rounds;
  bool grad_checkpoint = false;  // of training steps

  bool on_device() const { return backend.kind() == DeviceKind::Cuda; }
};

// A network as one kind of work runs it.
struct Workload {
  Workload(const BenchTarget& target, Work work);

  Plan plan(Index batch) const;
  // For every graph input, n = 1.
  std::vector<Spec> samples() const;
  bool trains() const { return options.phase == Phase::Train; }

  const Backend& backend;
  PlanOptions options;
  Graph graph;
  std::string input;  // of the graph, beside the targets
  Spec sample;        // of the input, n = 1
};

// Random weights, and the running statistics of a random batch: with those of a new model the
// activations of inference fade away layer by layer, below what fp16 can hold.
Model random_model(const BenchTarget& target);
// The same network quantized, by random pictures: random_model() of it is the quantized model.
NetworkConfig quantized_config(const NetworkConfig& config, ThreadPool& pool);

// Several batches of random pictures or features, and targets 0 and 1 in turn. Together larger than
// most caches, so that a small batch is not always read from them.
class RandomBatches {
 public:
  RandomBatches(const Spec& sample, Index n);

  // The batches one after the other, again and again.
  const std::byte* next();
  const std::vector<float>& targets() const { return targets_; }
  const std::vector<std::byte>& all() const { return samples_; }
  // Where the next batch begins in all().
  Index next_offset();

 private:
  Index batch_bytes_, count_, next_ = 0;
  std::vector<std::byte> samples_;
  std::vector<float> targets_;
};

}  // namespace dfengine
