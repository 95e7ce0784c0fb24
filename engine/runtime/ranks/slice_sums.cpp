#include "engine/runtime/ranks/slice_sums.h"

#include <algorithm>
#include <bit>

#include "kernels/base/error.h"
#include "kernels/cuda/device_ranks.h"
#include "kernels/tree_sum.h"

namespace dfengine {
namespace {

class HostSums final : public SliceSums {
 public:
  HostSums(cpu::Context ctx, Communicator& ranks) : ctx_(ctx), ranks_(ranks) {}

  void of_slices(Index slices, Index pitch, Index count, float* values, float* to) override {
    cpu::tree_sum(ctx_, slices, pitch, count, values, to);
  }
  void of_slices(Index slices, Index pitch, Index count, double* values, double* to) override {
    cpu::tree_sum(ctx_, slices, pitch, count, values, to);
  }
  void of_ranks(Index count, float* values) override { ranks_.sum(std::span(values, at(count))); }
  void of_ranks(Index count, double* values) override { ranks_.sum(std::span(values, at(count))); }
  Index bytes() const override { return 0; }

 private:
  cpu::Context ctx_;
  Communicator& ranks_;
};

// What rank 0 says.
std::string told_by_first(Communicator& ranks, const std::string& text) {
  return ranks.gather(ranks.rank() == 0 ? text : "").front();
}

// Every rank gathers what all have and adds it up by itself.
class DeviceSums final : public SliceSums {
 public:
  DeviceSums(const Backend& backend, const Cut& cut, Index bytes)
      : stream_(backend.queue().stream), size_(cut.ranks->size()), fast_(cut.fast) {
    if (size_ == 1) return;
    const std::string meeting =
        told_by_first(*cut.ranks, cut.ranks->rank() == 0 ? cuda::new_meeting() : "");
    ranks_ = std::make_unique<cuda::DeviceRanks>(meeting, cut.ranks->rank(), size_);
    if (fast_) return;
    bytes_ = size_ * bytes;
    all_ = backend.allocate(bytes_);
  }

  void of_slices(Index slices, Index pitch, Index count, float* values, float* to) override {
    cuda::tree_sum(stream_, slices, pitch, count, values, to);
  }
  void of_slices(Index slices, Index pitch, Index count, double* values, double* to) override {
    cuda::tree_sum(stream_, slices, pitch, count, values, to);
  }
  void of_ranks(Index count, float* values) override { add(count, values); }
  void of_ranks(Index count, double* values) override { add(count, values); }
  Index bytes() const override { return bytes_; }

 private:
  template <class T>
  void add(Index count, T* values) {
    if (!ranks_ || count == 0) return;
    if (fast_) return ranks_->sum(stream_, count, values);
    T* all = Place{all_.get()}.as<T>();
    ranks_->gather(stream_, count * Index{sizeof(T)}, values, all);
    cuda::tree_sum(stream_, size_, count, count, all, values);
  }

  cuda::Stream stream_;
  int size_;
  bool fast_;
  Index bytes_ = 0;
  OwnedMemory all_;
  std::unique_ptr<cuda::DeviceRanks> ranks_;
};

}  // namespace

Cut Cut::of(Index slices, Communicator& ranks) {
  if (!std::has_single_bit(static_cast<std::uint64_t>(slices)) || slices % ranks.size() != 0)
    throw UsageError(std::to_string(slices) + " slices of a batch on " +
                     std::to_string(ranks.size()) +
                     " ranks: both are powers of two, and the ranks no more than --slices");
  const Index count = slices / ranks.size();
  return {slices, ranks.rank() * count, count, &ranks};
}

std::unique_ptr<SliceSums> make_slice_sums(const Backend& backend, const Cut& cut, Index floats,
                                           Index doubles) {
  if (backend.kind() == DeviceKind::Cpu)
    return std::make_unique<HostSums>(backend.queue().cpu(), *cut.ranks);
  return std::make_unique<DeviceSums>(
      backend, cut, std::max(floats * kFloatBytes, doubles * Index{sizeof(double)}));
}

}  // namespace dfengine
