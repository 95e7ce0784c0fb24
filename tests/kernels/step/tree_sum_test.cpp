// Tree sums on every target: the very bits of the tree, whatever the schedule, and of its subtrees.
#include "kernels/tree_sum.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernel_data.h"

namespace dfengine::test {
namespace {

template <class T>
void tree_sum(const Cpu<float>& on, Index rows, Index pitch, Index count, T* values, T* to) {
  cpu::tree_sum(on.context(), rows, pitch, count, values, to);
}
template <class T>
void tree_sum(Device<float>, Index rows, Index pitch, Index count, T* values, T* to) {
  cuda::tree_sum(nullptr, rows, pitch, count, values, to);
}

template <class T>
T tree(const std::vector<T>& values, Index pitch, Index column, Index begin, Index rows) {
  if (rows == 1) return values[at(begin * pitch + column)];
  return tree(values, pitch, column, begin, rows / 2) +
         tree(values, pitch, column, begin + rows / 2, rows / 2);
}

template <class T, class Target>
void check(const Target& on, Index rows, Index pitch, Index count) {
  // Of sizes so different that another order gives other bits.
  Doubles random = random_uniform<double>(rows * pitch, 3);
  for (std::size_t i = 0; i < random.size(); ++i)
    random[i] = static_cast<float>(std::ldexp(random[i], static_cast<int>(i * 7 % 40)));
  std::vector<T> values(random.begin(), random.end());
  Doubles want;
  for (Index c = 0; c < count; ++c)
    want.push_back(static_cast<double>(tree(values, pitch, c, 0, rows)));
  typename Target::template Array<T> apart(random), in_place(random), halves(random), to(count);
  tree_sum(on, rows, pitch, count, apart.data(), to.data());
  EXPECT_EQ(to.values(), want);
  tree_sum(on, rows, pitch, count, in_place.data(), in_place.data());
  Doubles first = in_place.values();
  first.resize(at(count));
  EXPECT_EQ(first, want);
  if (rows == 1) return;
  T* second = halves.data() + rows / 2 * pitch;
  tree_sum(on, rows / 2, pitch, count, halves.data(), halves.data());
  tree_sum(on, rows / 2, pitch, count, second, second);
  tree_sum(on, Index{2}, rows / 2 * pitch, count, halves.data(), to.data());
  EXPECT_EQ(to.values(), want) << "of two halves";
}

template <class Target>
class TreeSum : public OnTarget<Target> {};
TYPED_TEST_SUITE(TreeSum, FloatTargets, TargetNames);

TYPED_TEST(TreeSum, IsOneBinaryTree) {
  for_each_schedule<TypeParam>([](const TypeParam& on) {
    for (Index rows : {1, 2, 8, 32})
      for (Index count : {1, 255, 2500}) {
        check<float>(on, rows, count, count);
        check<double>(on, rows, count + 7, count);
      }
  });
}

}  // namespace
}  // namespace dfengine::test
