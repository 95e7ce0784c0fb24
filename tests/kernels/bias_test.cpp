// Bias gradient on every target: exact on whole numbers, near the plain sum, any schedule.
#include "kernels/bias.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

template <class T>
void backward(const Cpu<T>& on, Index m, Index c, const T* dy, Write write, T* db) {
  cpu::bias_backward<T>(on.context(), m, c, dy, write, db);
}
// Devices always overwrite.
void backward(Device<float>, Index m, Index c, const float* dy, Write, float* db) {
  DeviceArray<float> scratch(cuda::bias_scratch(m, c));
  cuda::bias_backward(nullptr, m, c, dy, scratch.data(), db);
  scratch.values();
}

template <class Target>
Doubles run(const Target& on, Index m, Index c, const Doubles& gradient, Write write,
            const Doubles& before) {
  ValuesOn<Target> dy(gradient), db(before);
  backward(on, m, c, dy.data(), write, db.data());
  return db.values();
}

Doubles formula(Index m, Index c, const Doubles& dy, Write write, const Doubles& before) {
  Doubles db = write == Write::Accumulate ? before : Doubles(before.size(), 0.0);
  for (Index i = 0; i < m * c; ++i)
    db[static_cast<std::size_t>(i % c)] += dy[static_cast<std::size_t>(i)];
  return db;
}

template <class Target>
class BiasBackward : public OnTarget<Target> {};
TYPED_TEST_SUITE(BiasBackward, HeadTargets, TargetNames);

TYPED_TEST(BiasBackward, IsExactOnWholeNumbers) {
  for (Index m : {1, 2, 7, 49, 300, 512, 513})
    for (Index c : {1, 3, 16, 33, 63, 64, 65, 130})
      for (Write write : {Write::Overwrite, Write::Accumulate}) {
        if (TypeParam::kOnDevice && write == Write::Accumulate) continue;
        const Doubles dy = random_integers<double>(m * c, 1),
                      before = random_integers<double>(c, 2);
        const Doubles want = formula(m, c, dy, write, before);
        for_each_schedule<TypeParam>([&](const TypeParam& on) {
          EXPECT_EQ(run(on, m, c, dy, write, before), want) << m << " x " << c;
        });
      }
}

TYPED_TEST(BiasBackward, NearTheFormulaWithTheSameBitsForEverySchedule) {
  const Index m = 2000, c = 70;
  const Doubles dy = random_uniform<double>(m * c, 1), before(static_cast<std::size_t>(c), 0.0);
  const Doubles got = same_for_every_schedule<TypeParam>(
      [&](const TypeParam& on) { return run(on, m, c, dy, Write::Overwrite, before); });
  expect_close<TypeParam>(got, formula(m, c, dy, Write::Overwrite, before), m,
                          Doubles(before.size(), m), "db");
}

}  // namespace
}  // namespace dfengine::test
