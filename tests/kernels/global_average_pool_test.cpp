// Global average pool on every target: exact integer sums, gradient, random numbers near the plain
// sum, schedules.
#include "kernels/global_average_pool.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

// x and dx are the target's values, y and dy its sums.
template <class T>
void forward(const Cpu<T>& on, const Shape& shape, const T* x, SumOf<T>* y) {
  cpu::global_average_pool_forward<T>(on.context(), shape, x, y);
}
template <class T>
void forward(Device<T>, const Shape& shape, const T* x, float* y) {
  cuda::global_average_pool_forward<T>(nullptr, shape, x, y);
}

template <class T>
void backward(const Cpu<T>& on, const Shape& shape, const SumOf<T>* dy, Write write, T* dx) {
  cpu::global_average_pool_backward<T>(on.context(), shape, dy, write, dx);
}
template <class T>
void backward(Device<T>, const Shape& shape, const float* dy, Write write, T* dx) {
  cuda::global_average_pool_backward<T>(nullptr, shape, dy, write, dx);
}

template <class Target>
class GlobalAveragePool : public OnTarget<Target> {};
TYPED_TEST_SUITE(GlobalAveragePool, Targets, TargetNames);

struct Case {
  Shape shape;
  Doubles x, dy, before;  // before: what the gradient is added to
};

struct Results {
  Doubles y, dx, sum;
  bool operator==(const Results&) const = default;
};

template <class Target>
Results run(const Target& on, const Case& d) {
  ValuesOn<Target> x(d.x), dx(d.shape.count()), sum(d.before);
  SumsOn<Target> y(d.shape.n * d.shape.c), dy(d.dy);
  forward(on, d.shape, x.data(), y.data());
  backward(on, d.shape, dy.data(), Write::Overwrite, dx.data());
  backward(on, d.shape, dy.data(), Write::Accumulate, sum.data());
  return {y.values(), dx.values(), sum.values()};
}

Results formula(const Case& d) {
  const Index pixels = d.shape.h * d.shape.w;
  Results out{Doubles(d.dy.size(), 0.0), {}, {}};
  for (Index i = 0; i < d.shape.count(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto mean =
        static_cast<std::size_t>(i / (pixels * d.shape.c) * d.shape.c + i % d.shape.c);
    out.y[mean] += d.x[at] / static_cast<double>(pixels);
    out.dx.push_back(d.dy[mean] / static_cast<double>(pixels));
    out.sum.push_back(d.before[at] + out.dx.back());
  }
  return out;
}

// Calls body(shape) for those that the target takes.
template <class Target, class Body>
void for_each_taken(const std::vector<Shape>& shapes, Body&& body) {
  for (const Shape& s : shapes) {
    if (Target::kOnDevice && s.c % 8 != 0) continue;
    SCOPED_TRACE(testing::Message() << s.n << " x " << s.h << " x " << s.w << " x " << s.c);
    body(s);
  }
}

// With 4, 16 or 64 pixels the mean of integers is exact: any wrong index shows.
TYPED_TEST(GlobalAveragePool, ExactOnIntegers) {
  using T = typename TypeParam::Value;
  std::vector<Shape> shapes{{3, 8, 2, 280}, {1, 8, 8, 16}};
  for (Index c : {1, 3, 8, 16, 24, 33, 96})
    for (const Shape& s : {Shape{1, 1, 1, c}, Shape{3, 2, 2, c}, Shape{2, 8, 2, c}})
      shapes.push_back(s);
  for_each_taken<TypeParam>(shapes, [](const Shape& s) {
    const Case d{s, random_integers<double>(s.count(), 1, -50, 50),
                 random_integers<double>(s.n * s.c, 2, -50, 50),
                 random_integers<double>(s.count(), 3, -50, 50)};
    const Results want = formula(d);
    for_each_code<TypeParam>([&] {
      for_each_schedule<TypeParam>([&](const TypeParam& on) {
        const Results got = run(on, d);
        EXPECT_EQ(got.y, want.y);
        EXPECT_EQ(got.dx, as_stored<T>(want.dx));
        EXPECT_EQ(got.sum, as_stored<T>(want.sum));
      });
    });
  });
}

TYPED_TEST(GlobalAveragePool, NearTheFormulaWithTheSameBitsForEverySchedule) {
  using T = typename TypeParam::Value;
  const std::vector<Shape> shapes{{1, 1, 1, 8},   {2, 7, 7, 40},  {3, 7, 7, 40},
                                  {2, 9, 8, 264}, {1, 3, 50, 16}, {3, 5, 3, 33}};
  for_each_taken<TypeParam>(shapes, [](const Shape& s) {
    const Case d{s, as_stored<T>(random_uniform<double>(s.count(), 4)),
                 as_stored<typename TypeParam::Sum>(random_uniform<double>(s.n * s.c, 5)),
                 as_stored<T>(random_uniform<double>(s.count(), 6))};
    const Results want = formula(d);
    for_each_code<TypeParam>([&] {
      const Results got =
          same_for_every_schedule<TypeParam>([&](const TypeParam& on) { return run(on, d); });
      expect_close<TypeParam, typename TypeParam::Sum>(
          got.y, want.y, static_cast<double>(s.h * s.w), Doubles(want.y.size(), 1), "y");
      expect_close<TypeParam>(got.dx, want.dx, 1, Doubles(want.dx.size(), 1), "dx");
      expect_close<TypeParam>(got.sum, want.sum, 2, Doubles(want.sum.size(), 2), "dx added");
    });
  });
}

TEST(GlobalAveragePoolDevice, RejectsChannelsAndPointersItCannotLoad) {
  DF_NEEDS_DEVICE();
  DeviceArray<Half> x(256);
  DeviceArray<float> y(256);
  EXPECT_THROW(cuda::global_average_pool_forward<Half>(nullptr, {1, 2, 2, 12}, x.data(), y.data()),
               ShapeError);
  EXPECT_THROW(cuda::global_average_pool_backward<Half>(nullptr, {1, 2, 2, 8}, y.data() + 1,
                                                        Write::Overwrite, x.data()),
               ShapeError);
}

}  // namespace
}  // namespace dfengine::test
