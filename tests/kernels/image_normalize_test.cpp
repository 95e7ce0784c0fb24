// Image normalisation: the formula for every byte and colour, tails, float against double, threads.
#include "kernels/image_normalize.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"
#include "tests/support/device.h"
#include "tests/support/tolerance.h"

namespace dfengine::test {
namespace {

constexpr double kMean[3] = {0.485, 0.456, 0.406}, kStd[3] = {0.229, 0.224, 0.225};
constexpr double kLargest = (1 + 0.485) / 0.224;

std::vector<std::uint8_t> bytes(Index rows) {
  std::vector<std::uint8_t> x(static_cast<std::size_t>(rows * 3));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return x;
}

template <class T>
std::vector<T> normalize(const std::vector<std::uint8_t>& x, int threads = 1) {
  cpu::ThreadPool pool(threads);
  std::vector<T> y(x.size());
  cpu::image_normalize<T>({pool}, static_cast<Index>(x.size()) / 3, kMean, kStd, x.data(),
                          y.data());
  return y;
}

TEST(ImageNormalize, DoubleIsTheFormula) {
  const auto x = bytes(256 * 3);
  const auto y = normalize<double>(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double back = (y[i] * kStd[i % 3] + kMean[i % 3]) * 255;
    EXPECT_NEAR(back, x[i], tolerance<double>(4, 255 * kLargest));
  }
}

TEST(ImageNormalize, FloatEqualsDoubleForEveryTailAndAnyThreads) {
  for_each_isa([] {
    for (Index rows : {0, 1, 3, 5, 8, 16, 17, 24, 33, 96, 768, 20001}) {
      const auto x = bytes(rows);
      const auto one = normalize<float>(x);
      expect_all_near(one, normalize<double>(x), tolerance<float>(2, kLargest), "y");
      EXPECT_EQ(one, normalize<float>(x, 3));
    }
  });
}

template <class T>
void check_device(Index rows) {
  const auto x = bytes(rows);
  cuda::DeviceMemory images = cuda::allocate_device(std::max<Index>(rows * 3, 1));
  cuda::upload(nullptr, images.get(), x.data(), rows * 3);
  DeviceArray<T> y(rows * 3);
  cuda::image_normalize<T>(nullptr, rows, kMean, kStd, static_cast<std::uint8_t*>(images.get()),
                           y.data());
  expect_device_close<T>(y.values(), normalize<double>(x), 2,
                         std::vector<double>(x.size(), kLargest), "y");
}

TEST(ImageNormalize, DeviceEqualsDoubleForEveryTail) {
  DF_NEEDS_DEVICE();
  for (Index rows : {0, 1, 3, 7, 8, 9, 16, 33, 2047, 2048, 20001}) {
    SCOPED_TRACE(rows);
    check_device<Half>(rows);
    check_device<BFloat16>(rows);
    check_device<float>(rows);
  }
}

}  // namespace
}  // namespace dfengine::test
