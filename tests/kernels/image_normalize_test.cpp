// Image normalisation: the formula for every byte and colour; every target, tail and schedule
// against that.
#include "kernels/image_normalize.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

constexpr double kMean[3] = {0.485, 0.456, 0.406}, kStd[3] = {0.229, 0.224, 0.225};
constexpr double kLargest = (1 + 0.485) / 0.224;

using Bytes = std::vector<std::uint8_t>;

template <class T>
void normalize(const Cpu<T>& on, Index rows, const Bytes& x, T* y) {
  cpu::image_normalize<T>(on.context(), rows, kMean, kStd, x.data(), y);
}
template <class T>
void normalize(Device<T>, Index rows, const Bytes& x, T* y) {
  DeviceStructs<std::uint8_t> images(x);
  cuda::image_normalize<T>(nullptr, rows, kMean, kStd, images.data(), y);
  cuda::synchronize(nullptr);
}

template <class Target>
Doubles run(const Target& on, const Bytes& x) {
  ValuesOn<Target> y(static_cast<Index>(x.size()));
  normalize(on, static_cast<Index>(x.size()) / 3, x, y.data());
  return y.values();
}

Bytes bytes(Index rows) {
  Bytes x(at(rows * 3));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return x;
}

template <class Target>
class ImageNormalize : public OnTarget<Target> {};
TYPED_TEST_SUITE(ImageNormalize, Targets, TargetNames);

TYPED_TEST(ImageNormalize, IsTheFormulaForEveryTailAndSchedule) {
  for (Index rows : {0, 1, 3, 5, 7, 8, 9, 16, 17, 24, 33, 96, 768, 2047, 2048, 20001}) {
    SCOPED_TRACE(rows);
    const Bytes x = bytes(rows);
    Doubles want;
    for (std::size_t i = 0; i < x.size(); ++i)
      want.push_back((x[i] / 255.0 - kMean[i % 3]) / kStd[i % 3]);
    for_each_code<TypeParam>([&] {
      const Doubles got =
          same_for_every_schedule<TypeParam>([&](const TypeParam& on) { return run(on, x); });
      expect_close<TypeParam>(got, want, 2, Doubles(x.size(), kLargest), "y");
    });
  }
}

}  // namespace
}  // namespace dfengine::test
