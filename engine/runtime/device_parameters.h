// Parameters on a device: float master values, copies in the activations' element, and for training
// gradients and Adam's moments. Every parameter begins at a multiple of kAlignment elements, so
// that kernels can load vectors.
#pragma once

#include "engine/runtime/binding.h"
#include "engine/runtime/device.h"
#include "kernels/adam.h"

namespace dfengine {

class DeviceParameters {
 public:
  // Takes the values of `store`. training: gradients and moments too, zero.
  DeviceParameters(const ParameterStore& store, const Device& device, bool training);

  // Both wait. store is the one given above, or of the same shape.
  void upload(const ParameterStore& store);
  void download(ParameterStore& store) const;
  // Moments, laid out as the learned parameters of `store`, in float.
  void upload_moments(const ParameterStore& store, const std::byte* first, const std::byte* second);
  void download_moments(const ParameterStore& store, std::byte* first, std::byte* second) const;

  // Where each parameter of the store lies. Running statistics' gradients hold their next values.
  ParameterPlaces places() const;
  // Chunks for cuda::adam_update over the trained parameters and all running statistics; decay is
  // for weights alone.
  std::vector<cuda::AdamChunk> adam_chunks(const ParameterStore& store,
                                           const std::vector<ParamSpec>& trained,
                                           double weight_decay) const;

  // Elements of each block below, padding included.
  Index count() const { return count_; }
  float* values() const { return static_cast<float*>(values_.get()); }
  float* gradients() const { return static_cast<float*>(gradients_.get()); }
  float* first_moment() const { return static_cast<float*>(first_.get()); }
  float* second_moment() const { return static_cast<float*>(second_.get()); }
  Element element() const { return device_.element(); }
  // In element(); null where that is float.
  void* working() const { return working_.get(); }
  Index bytes() const;

 private:
  static constexpr Index kAlignment = 64;

  void to_device(const ParameterStore& store, const std::byte* from, bool learned_only,
                 float* block) const;
  void to_host(const ParameterStore& store, const float* block, bool learned_only,
               std::byte* to) const;

  const Device& device_;
  bool training_;
  std::vector<Index> offsets_;  // by position in the store
  Index count_ = 0;
  cuda::DeviceMemory values_, working_, gradients_, first_, second_;
};

}  // namespace dfengine
