#include "tests/ptx/instructions/warpgroup.h"

#include <cstring>

#include "tests/ptx/instructions/halves.h"
#include "tests/ptx/instructions/memory.h"
#include "tests/ptx/instructions/tensor_core.h"
#include "tests/ptx/instructions/warp_wide.h"
#include "tests/ptx/report.h"
#include "tests/ptx/settings.h"

namespace dfengine::ptx {
namespace {

constexpr int kWarpsOfGroup = 4, kVectorBytes = 16;

// "Matrix Descriptor Format", of a factor whose depths are neighbours, swizzled by 128 bytes.
struct Factor {
  std::uint32_t start = 0, eight_rows = 0;

  explicit Factor(Warp& warp, std::uint64_t bits)
      : start(static_cast<std::uint32_t>(bits & 0x3FFF) << 4),
        eight_rows(static_cast<std::uint32_t>(bits >> 32 & 0x3FFF) << 4) {
    constexpr std::uint64_t kSwizzle128 = 1;
    if (bits >> 62 != kSwizzle128 || (bits >> 49 & 7) != 0)
      report(warp, "wgmma: a factor that is not swizzled by 128 bytes from a multiple of 1,024 on");
  }

  // Of depths 8 `half` to 8 `half` + 7.
  std::uint32_t address(int row, int half) const {
    const auto r = static_cast<std::uint32_t>(row);
    const std::uint32_t plain =
        start + r / 8 * eight_rows + r % 8 * 128 + static_cast<std::uint32_t>(half) * kVectorBytes;
    return plain ^ (plain >> 7 & 7) << 4;
  }
};

template <class Body>
void for_each_vector(int rows, Body&& body) {
  for (int row = 0; row < rows; ++row)
    for (int half = 0; half < 2; ++half) body(row, half);
}

// As any read, and of what its writer has made visible to the tensor cores.
void check_read(Warp& warp, std::uint32_t address) {
  if (!check_shared(warp, address, kVectorBytes, false)) return;
  for (std::uint32_t at = address; at < address + kVectorBytes; at += 2) {
    const Trace& trace = warp.block->traces[at / 2];
    if (trace.writer < 0) continue;
    if (warp.block->fences[static_cast<std::size_t>(trace.writer)] == trace.fences) {
      report(warp, "wgmma reads what no fence.proxy.async has published");
      return;
    }
  }
}

int columns_of(const Instruction& i) {
  return static_cast<int>(i.sums.size()) * 2;
}

int first_row_of(const Warp& warp) {
  return warp.index % kWarpsOfGroup * kTileRows;
}

// Calls body(k, value) for the depths of a row. What lies outside is zero: it has been reported.
template <class Body>
void for_each_value(Warp& warp, const Instruction& i, const Factor& factor, int row, Body&& body) {
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t address = factor.address(row, half);
    std::array<std::uint16_t, kTileDepth / 2> bits{};
    if (std::uint64_t{address} + kVectorBytes <= warp.block->shared_bytes)
      std::memcpy(bits.data(), warp.block->shared + address, kVectorBytes);
    for (std::size_t k = 0; k < bits.size(); ++k)
      body(half * kTileDepth / 2 + static_cast<int>(k),
           i.mode == 1 ? from_bfloat(bits[k]) : from_half(bits[k]));
  }
}

// "Register Fragments for wgmma.mma_async.m64nNk16": registers 4 j to 4 j + 3 are the fragment C of
// an mma for columns 8 j to 8 j + 7.
void multiply(Warp& warp, const PendingProduct& product) {
  const Instruction& i = *product.instruction;
  const Factor a(warp, product.a), b(warp, product.b);
  Tile tile;
  for (int row = 0; row < kTileRows; ++row)
    for_each_value(warp, i, a, first_row_of(warp) + row,
                   [&](int k, float value) { tile.a[row][k] = value; });
  for (int column = 0; column < columns_of(i); column += kTileColumns) {
    const auto place = [&](int lane, int e) -> float& {
      const auto slot = static_cast<std::size_t>(column / 2 + e);
      return warp.cells<float>(i.sums[slot])[lane];
    };
    for (int n = 0; n < kTileColumns; ++n)
      for_each_value(warp, i, b, column + n, [&](int k, float value) { tile.b[k][n] = value; });
    for (int lane = 0; lane < kLanes; ++lane)
      for (int e = 0; e < 4; ++e) tile.c[row_of_c(lane, e)][column_of_c(lane, e)] = place(lane, e);
    multiply(tile);
    count_product(warp);
    for (int lane = 0; lane < kLanes; ++lane)
      for (int e = 0; e < 4; ++e) place(lane, e) = tile.c[row_of_c(lane, e)][column_of_c(lane, e)];
  }
}

}  // namespace

void start_product(Warp& warp, const Instruction& i, Lanes mask) {
  check_whole_warp(warp, mask);
  if (!warp.begins_products) report(warp, "wgmma.mma_async without wgmma.fence before it");
  PendingProduct made{&i, warp.cells<std::uint64_t>(i.from[0])[0],
                      warp.cells<std::uint64_t>(i.from[1])[0]};
  const Factor a(warp, made.a), b(warp, made.b);
  for_each_vector(kTileRows, [&](int row, int half) {
    check_read(warp, a.address(first_row_of(warp) + row, half));
  });
  for_each_vector(columns_of(i),
                  [&](int row, int half) { check_read(warp, b.address(row, half)); });
  if (settings().late_copies) {
    warp.open_products.push_back(made);
  } else {
    multiply(warp, made);
  }
}

void begin_products(Warp& warp, const Instruction&, Lanes mask) {
  check_whole_warp(warp, mask);
  warp.begins_products = true;
}

void commit_products(Warp& warp, const Instruction&, Lanes mask) {
  check_whole_warp(warp, mask);
  warp.products.push_back(std::move(warp.open_products));
  warp.open_products.clear();
}

void wait_for_products(Warp& warp, const Instruction& i, Lanes mask) {
  check_whole_warp(warp, mask);
  for (; warp.products.size() > static_cast<std::size_t>(i.immediate); warp.products.pop_front())
    for (const PendingProduct& product : warp.products.front()) multiply(warp, product);
  warp.begins_products = false;
}

bool products_are_pending(const Warp& warp) {
  return !warp.open_products.empty() || !warp.products.empty();
}

void publish(Warp& warp, const Instruction&, Lanes mask) {
  if (mask != warp.alive) report(warp, "fence.proxy.async by part of a warp");
  ++warp.block->fences[static_cast<std::size_t>(warp.index)];
}

}  // namespace dfengine::ptx
