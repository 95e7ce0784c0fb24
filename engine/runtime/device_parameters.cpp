#include "engine/runtime/device_parameters.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/device_step.h"

namespace dfengine {
namespace {

constexpr Index kFloat = sizeof(float);

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

int size_of(const ParameterStore& store) {
  return static_cast<int>(store.specs().size());
}

}  // namespace

DeviceParameters::DeviceParameters(const ParameterStore& store, const Device& device, bool training)
    : device_(device), training_(training) {
  for (const ParamSpec& p : store.specs()) {
    offsets_.push_back(count_);
    count_ += (p.count() + kAlignment - 1) / kAlignment * kAlignment;
  }
  values_ = cuda::allocate_device(count_ * kFloat);
  if (device.element() != Element::F32)
    working_ = cuda::allocate_device(count_ * element_size(device.element()));
  if (training) {
    gradients_ = cuda::allocate_device(count_ * kFloat);
    first_ = cuda::allocate_device(count_ * kFloat);
    second_ = cuda::allocate_device(count_ * kFloat);
  }
  upload(store);
}

// Through one buffer with the device's gaps; `from` is laid out as the store.
void DeviceParameters::to_device(const ParameterStore& store, const std::byte* from,
                                 bool learned_only, float* block) const {
  std::vector<float> staging(static_cast<std::size_t>(count_), 0.0f);
  for (int i = 0; i < size_of(store); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    if (learned_only && !is_learned(p.role)) continue;
    std::memcpy(staging.data() + offsets_[at(i)], from + store.offset(i) * kFloat,
                static_cast<std::size_t>(p.count() * kFloat));
  }
  cuda::upload(device_.compute(), block, staging.data(), count_ * kFloat);
  cuda::synchronize(device_.compute());
}

void DeviceParameters::to_host(const ParameterStore& store, const float* block, bool learned_only,
                               std::byte* to) const {
  std::vector<float> staging(static_cast<std::size_t>(count_));
  cuda::download(device_.compute(), staging.data(), block, count_ * kFloat);
  cuda::synchronize(device_.compute());
  for (int i = 0; i < size_of(store); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    if (learned_only && !is_learned(p.role)) continue;
    std::memcpy(to + store.offset(i) * kFloat, staging.data() + offsets_[at(i)],
                static_cast<std::size_t>(p.count() * kFloat));
  }
}

void DeviceParameters::upload(const ParameterStore& store) {
  if (store.element() != Element::F32) throw Error("device parameters start from float");
  to_device(store, store.data(), false, values());
  // The next running statistics of batch norms that do not run are the present ones.
  if (training_) cuda::copy_on_device(device_.compute(), gradients(), values(), count_ * kFloat);
  if (working_)
    with_device_element(device_.element(), [&](auto t) {
      cuda::cast(device_.compute(), count_, values(), static_cast<decltype(t)*>(working()));
    });
  cuda::synchronize(device_.compute());
}

void DeviceParameters::download(ParameterStore& store) const {
  to_host(store, values(), false, store.data());
}

void DeviceParameters::upload_moments(const ParameterStore& store, const std::byte* first,
                                      const std::byte* second) {
  to_device(store, first, true, first_moment());
  to_device(store, second, true, second_moment());
}

void DeviceParameters::download_moments(const ParameterStore& store, std::byte* first,
                                        std::byte* second) const {
  to_host(store, first_moment(), true, first);
  to_host(store, second_moment(), true, second);
}

ParameterPlaces DeviceParameters::places() const {
  ParameterPlaces all;
  auto* half = static_cast<std::byte*>(working());
  for (Index offset : offsets_) {
    all.values.push_back(values() + offset);
    all.working.push_back(half != nullptr
                              ? static_cast<void*>(half + offset * element_size(device_.element()))
                              : values() + offset);
    all.gradients.push_back(training_ ? gradients() + offset : nullptr);
  }
  return all;
}

std::vector<cuda::AdamChunk> DeviceParameters::adam_chunks(const ParameterStore& store,
                                                           const std::vector<ParamSpec>& trained,
                                                           double weight_decay) const {
  std::vector<cuda::AdamChunk> chunks;
  for (int i = 0; i < size_of(store); ++i) {
    const ParamSpec& p = store.specs()[at(i)];
    const bool learned = is_learned(p.role);
    const bool moves =
        std::ranges::any_of(trained, [&](const ParamSpec& t) { return t.name == p.name; });
    if (learned && !moves) continue;
    for (Index first = 0; first < p.count(); first += cuda::kAdamChunk)
      chunks.push_back({offsets_[at(i)] + first,
                        static_cast<std::int32_t>(std::min(cuda::kAdamChunk, p.count() - first)),
                        p.role == Role::Weight ? static_cast<float>(weight_decay) : 0.0f,
                        !learned});
  }
  return chunks;
}

Index DeviceParameters::bytes() const {
  return count_ * (kFloat * (training_ ? 4 : 1) + (working_ ? element_size(device_.element()) : 0));
}

}  // namespace dfengine
