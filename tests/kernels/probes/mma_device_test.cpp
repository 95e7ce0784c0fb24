// The tensor-core building blocks against the layouts that the PTX ISA documents, on a GPU and in
// its stand-in: matrices whose elements all differ, so that a swapped row, half or register shows.
#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/probes/mma_probe.h"
#include "tests/support/device.h"

namespace dfengine::test {
namespace {

constexpr int kLanes = 32;

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": lane's element number i of
// a fragment is this row and column of the matrix.
struct At {
  int row, column;
};
At a_element(int lane, int i) {  // a0..a7
  const int group = lane >> 2, thread = lane % 4;
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {upper ? group : group + 8, thread * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}
At b_element(int lane, int i) {  // b0..b3
  const int group = lane >> 2, thread = lane % 4;
  return {thread * 2 + (i & 1) + (i < 2 ? 0 : 8), group};
}
At c_element(int lane, int i) {  // c0..c3
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? group : group + 8, thread * 2 + (i & 1)};
}

// Whole numbers that bfloat16 holds exactly, all different.
int a_value(At at) {
  return at.row * 16 + at.column;
}
int b_value(At at) {
  return 100 - (at.row * 8 + at.column);
}

template <class T>
std::uint32_t word(int low, int high) {
  return static_cast<std::uint32_t>(stored<T>(low).bits) |
         static_cast<std::uint32_t>(stored<T>(high).bits) << 16;
}

template <class T>
void check_mma() {
  std::vector<std::uint32_t> a, b;
  std::vector<float> c, want;
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 8; i += 2)
      a.push_back(word<T>(a_value(a_element(lane, i)), a_value(a_element(lane, i + 1))));
    for (int i = 0; i < 4; i += 2)
      b.push_back(word<T>(b_value(b_element(lane, i)), b_value(b_element(lane, i + 1))));
    for (int i = 0; i < 4; ++i) {
      const auto [row, column] = c_element(lane, i);
      c.push_back(static_cast<float>(1000 * row + column));
      int sum = 1000 * row + column;
      for (int k = 0; k < 16; ++k) sum += a_value({row, k}) * b_value({k, column});
      want.push_back(static_cast<float>(sum));
    }
  }
  DeviceStructs device_a(a), device_b(b);
  DeviceStructs device_c(c);
  probe_mma<T>(nullptr, device_a.data(), device_b.data(), device_c.data());
  EXPECT_EQ(device_c.values(), want);
}

TEST(MmaDevice, MultipliesTheDocumentedFragments) {
  DF_NEEDS_DEVICE();
  for_each_thread_order([] {
    check_mma<Half>();
    check_mma<BFloat16>();
  });
}

// PTX ISA, "ldmatrix": lanes 8i..8i+7 name the rows of matrix i, which arrives in register i; a
// lane's register holds elements 2 (lane % 4) and the next of row lane / 4. With .trans the matrix
// is transposed first.
TEST(MmaDevice, LoadsTheDocumentedElements) {
  DF_NEEDS_DEVICE();
  std::vector<std::uint16_t> values(at(Index{kLanes} * 8));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i * 151);
  std::vector<int> row_of;
  for (int lane = 0; lane < kLanes; ++lane) row_of.push_back(lane * 13 % kLanes);
  DeviceStructs device_values(values);
  DeviceStructs device_rows(row_of);
  for_each_thread_order([&] {
    for (bool transposed : {false, true}) {
      std::vector<std::uint32_t> want;
      for (int lane = 0; lane < kLanes; ++lane) {
        for (int matrix = 0; matrix < 4; ++matrix) {
          const auto element = [&](int row, int column) -> std::uint32_t {
            if (transposed) std::swap(row, column);
            const int stored_row = row_of[at(matrix * 8 + row)];
            return values[at(stored_row * 8 + column)];
          };
          const int column = lane % 4 * 2;
          want.push_back(element(lane / 4, column) | element(lane / 4, column + 1) << 16);
        }
      }
      DeviceStructs registers(std::vector<std::uint32_t>(at(Index{kLanes} * 4)));
      probe_load_matrices(nullptr, transposed, device_values.data(), device_rows.data(),
                          registers.data());
      EXPECT_EQ(registers.values(), want) << (transposed ? "transposed" : "as stored");
    }
  });
}

TEST(MmaDevice, CopiesArriveGroupByGroupAndZerosWhereInvalid) {
  DF_NEEDS_DEVICE();
  constexpr int kHalf = kLanes * 8, kValid = 19;
  std::vector<std::uint16_t> values(at(Index{2} * kHalf));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i + 1);
  std::vector<std::uint16_t> want_first, want_both = values;
  for (int i = 0; i < kHalf; ++i) want_first.push_back(values[at((i + 8) % kHalf)]);
  for (int i = kValid * 8; i < kHalf; ++i) want_both[at(kHalf + i)] = 0;
  for_each_thread_order([&] {
    const std::vector<std::uint16_t> none(at(Index{2} * kHalf)), half(kHalf);
    DeviceStructs from(values), first(half), both(none);
    probe_copy_async(nullptr, kValid, from.data(), first.data(), both.data());
    EXPECT_EQ(first.values(), want_first);
    EXPECT_EQ(both.values(), want_both);
  });
}

}  // namespace
}  // namespace dfengine::test
