// What a CUDA device does as a backend beside its kernels.
#include "tests/engine/runtime/device_support.h"

namespace dfengine::test {
namespace {

// One number on the device.
class Number {
 public:
  explicit Number(const Backend& backend) : backend_(backend), memory_(backend.allocate(bytes())) {}
  void set(float value) { put(backend_, {memory_.get()}, stored_bytes(Element::F32, {value})); }
  float get() const {
    return static_cast<float>(
        fetch(backend_, {memory_.get()}, Spec{{1, 1, 1, 1}, Element::F32})[0]);
  }
  void queue_copy(const Number& from) { backend_.copy(memory_.get(), from.memory_.get(), bytes()); }

 private:
  static constexpr Index bytes() { return kFloatBytes; }
  const Backend& backend_;
  OwnedMemory memory_;
};

TEST(DeviceBackend, ACaptureRecordsAndReplays) {
  DF_NEEDS_DEVICE();
  const CudaBackend backend(deterministic(Precision::Fp32));
  Number from(backend), to(backend);
  from.set(1);
  const auto replay = backend.capture([&] { to.queue_copy(from); });
  EXPECT_EQ(to.get(), 0) << "recorded work ran";
  replay();
  EXPECT_EQ(to.get(), 1);
  from.set(2);
  replay();
  EXPECT_EQ(to.get(), 2);
}

// Else all later work would be recorded, and nothing ever run.
TEST(DeviceBackend, ACaptureThatThrowsLeavesTheQueueAsItWas) {
  DF_NEEDS_DEVICE();
  const CudaBackend backend(deterministic(Precision::Fp32));
  Number from(backend), to(backend), other(backend);
  from.set(1);
  const auto fails = [&] {
    to.queue_copy(from);
    throw DeviceError("made-up reason");
  };
  for (int i = 0; i < 2; ++i) {
    try {
      backend.capture(fails);
      ADD_FAILURE() << "captured";
    } catch (const DeviceError& e) {
      EXPECT_STREQ(e.what(), "made-up reason");
    }
    EXPECT_EQ(to.get(), 0) << "what was recorded is not gone";
    const auto value = static_cast<float>(3 + i);
    other.set(value);
    EXPECT_EQ(other.get(), value) << "later work does not run";
  }
  const auto replay = backend.capture([&] { other.queue_copy(from); });
  replay();
  EXPECT_EQ(other.get(), 1);
  EXPECT_EQ(to.get(), 0) << "what was recorded is not gone";
}

}  // namespace
}  // namespace dfengine::test
