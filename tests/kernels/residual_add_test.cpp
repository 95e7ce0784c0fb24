// Residual addition on every target: rounded once, in place, tails, several tasks and schedules.
#include "kernels/residual_add.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

template <class T>
void add(const Cpu<T>& on, Index count, const T* a, const T* b, T* y) {
  cpu::residual_add<T>(on.context(), count, a, b, y);
}
template <class T>
void add(Device<T>, Index count, const T* a, const T* b, T* y) {
  cuda::residual_add<T>(nullptr, count, a, b, y);
}

template <class T>
void add_backward(const Cpu<T>& on, Index count, const T* dy, Write write, T* dx) {
  cpu::residual_add_backward<T>(on.context(), count, dy, write, dx);
}
template <class T>
void add_backward(Device<T>, Index count, const T* dy, Write write, T* dx) {
  cuda::residual_add_backward<T>(nullptr, count, dy, write, dx);
}

template <class Target>
class ResidualAdd : public OnTarget<Target> {};
TYPED_TEST_SUITE(ResidualAdd, Targets, TargetNames);

template <class Target>
void check(const Target& on, const Doubles& a, const Doubles& b) {
  using T = typename Target::Value;
  const auto count = static_cast<Index>(a.size());
  Doubles want;
  for (std::size_t i = 0; i < a.size(); ++i) want.push_back(value_of(stored<T>(a[i] + b[i])));
  ValuesOn<Target> as(a), bs(b), y(count), into_a(a), into_b(b), copy(count), sum(b);
  add(on, count, as.data(), bs.data(), y.data());
  add(on, count, into_a.data(), bs.data(), into_a.data());
  add(on, count, as.data(), into_b.data(), into_b.data());
  add_backward(on, count, as.data(), Write::Overwrite, copy.data());
  add_backward(on, count, as.data(), Write::Accumulate, sum.data());
  EXPECT_EQ(y.values(), want);
  EXPECT_EQ(into_a.values(), want) << "y is a";
  EXPECT_EQ(into_b.values(), want) << "y is b";
  EXPECT_EQ(copy.values(), a) << "gradient";
  EXPECT_EQ(sum.values(), want) << "gradient added";
}

TYPED_TEST(ResidualAdd, IsRoundedOnce) {
  using T = typename TypeParam::Value;
  std::vector<Index> counts{0, 1, 3, 7, 8, 9, 16, 24, 33, 96, 2048, 2051, 16320};
  if (!TypeParam::kOnDevice) counts.push_back(50001);
  for (Index count : counts) {
    SCOPED_TRACE(count);
    const Doubles a = as_stored<T>(random_uniform<double>(count, 4, -2, 8)),
                  b = as_stored<T>(random_uniform<double>(count, 5, -2, 8));
    for_each_code<TypeParam>(
        [&] { for_each_schedule<TypeParam>([&](const TypeParam& on) { check(on, a, b); }); });
  }
}

}  // namespace
}  // namespace dfengine::test
