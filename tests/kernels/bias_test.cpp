// Bias gradient on every target: exact on whole numbers, near the plain sum, any schedule.
#include "kernels/bias.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

template <class T>
void backward(const Cpu<T>& on, Index m, Index c, const T* dy, T* db) {
  cpu::bias_backward<T>(on.context(), m, c, dy, db);
}
void backward(Device<float>, Index m, Index c, const float* dy, float* db) {
  DeviceArray<float> scratch(cuda::bias_scratch(m, c));
  cuda::bias_backward(nullptr, m, c, dy, scratch.data(), db);
  scratch.values();
}

template <class Target>
Doubles run(const Target& on, Index m, Index c, const Doubles& gradient) {
  ValuesOn<Target> dy(gradient), db(c);
  backward(on, m, c, dy.data(), db.data());
  return db.values();
}

Doubles formula(Index m, Index c, const Doubles& dy) {
  Doubles db(at(c), 0.0);
  for (Index i = 0; i < m * c; ++i) db[at(i % c)] += dy[at(i)];
  return db;
}

template <class Target>
class BiasBackward : public OnTarget<Target> {};
TYPED_TEST_SUITE(BiasBackward, HeadTargets, TargetNames);

TYPED_TEST(BiasBackward, IsExactOnWholeNumbers) {
  for (Index m : {1, 2, 7, 49, 300, 512, 513})
    for (Index c : {1, 3, 16, 33, 63, 64, 65, 130}) {
      const Doubles dy = random_integers<double>(m * c, 1), want = formula(m, c, dy);
      for_each_schedule<TypeParam>(
          [&](const TypeParam& on) { EXPECT_EQ(run(on, m, c, dy), want) << m << " x " << c; });
    }
}

TYPED_TEST(BiasBackward, NearTheFormulaWithTheSameBitsForEverySchedule) {
  const Index m = 2000, c = 70;
  const Doubles dy = random_uniform<double>(m * c, 1);
  const Doubles got =
      same_for_every_schedule<TypeParam>([&](const TypeParam& on) { return run(on, m, c, dy); });
  expect_close<TypeParam>(got, formula(m, c, dy), m, Doubles(at(c), m), "db");
}

}  // namespace
}  // namespace dfengine::test
