#include "engine/data/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/error.h"

namespace dfengine {
namespace {

// 8 bits of pixel + 22 of weight leave room for a sum in 32 bits.
constexpr int kFractionBits = 22;
constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);

std::uint8_t to_pixel(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::min(sum >> kFractionBits, 255));
}

}  // namespace

void Resizer::Axis::prepare(Index in_size, Index out_size, Index first_output, Index outputs) {
  if (in == in_size && out == out_size && first == first_output && count == outputs) return;
  in = in_size, out = out_size, first = first_output, count = outputs;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = std::max(scale, 1.0);
  stride = static_cast<Index>(std::ceil(support)) * 2 + 1;
  spans.resize(static_cast<std::size_t>(count));
  weights.resize(static_cast<std::size_t>(count * stride));
  std::vector<double> exact(static_cast<std::size_t>(stride));
  for (Index i = 0; i < count; ++i) {
    const double centre = (static_cast<double>(first + i) + 0.5) * scale;
    const Index start = std::max(static_cast<Index>(centre - support + 0.5), Index{0});
    const Index end = std::min(static_cast<Index>(centre + support + 0.5), in);
    double sum = 0;
    for (Index t = 0; t < end - start; ++t) {
      const double x = (static_cast<double>(start + t) - centre + 0.5) * (1.0 / support);
      const double weight = std::max(1.0 - std::abs(x), 0.0);
      exact[static_cast<std::size_t>(t)] = weight;
      sum += weight;
    }
    spans[static_cast<std::size_t>(i)] = {start, end - start};
    for (Index t = 0; t < end - start; ++t) {
      const double share = exact[static_cast<std::size_t>(t)] / sum;
      weights[static_cast<std::size_t>(i * stride + t)] =
          static_cast<std::int32_t>(0.5 + share * (1 << kFractionBits));
    }
  }
}

// One input row [in.w, 3] to out [x_.count, 3].
void Resizer::make_columns(ImageView in, Index row, std::uint8_t* out) const {
  const std::uint8_t* pixels = in.rgb + row * in.w * 3;
  for (Index i = 0; i < x_.count; ++i) {
    const Axis::Span span = x_.spans[static_cast<std::size_t>(i)];
    const std::int32_t* weight = x_.weights.data() + i * x_.stride;
    const std::uint8_t* p = pixels + span.start * 3;
    std::int32_t r = kHalf, g = kHalf, b = kHalf;
    for (Index t = 0; t < span.taps; ++t, p += 3) {
      r += p[0] * weight[t];
      g += p[1] * weight[t];
      b += p[2] * weight[t];
    }
    out[3 * i] = to_pixel(r);
    out[3 * i + 1] = to_pixel(g);
    out[3 * i + 2] = to_pixel(b);
  }
}

// Output row y of the window from rows_, whose first row is input row first_row.
void Resizer::make_row(Index y, Index first_row, std::uint8_t* out) {
  const Axis::Span span = y_.spans[static_cast<std::size_t>(y)];
  const std::int32_t* weight = y_.weights.data() + y * y_.stride;
  const Index n = x_.count * 3;
  std::int32_t* sums = sums_.data();
  std::fill_n(sums, n, kHalf);
  for (Index t = 0; t < span.taps; ++t) {
    const std::uint8_t* p = rows_.data() + (span.start - first_row + t) * n;
    for (Index i = 0; i < n; ++i) sums[i] += p[i] * weight[t];
  }
  for (Index i = 0; i < n; ++i) out[i] = to_pixel(sums[i]);
}

void Resizer::resize(ImageView in, Index h, Index w, std::uint8_t* out) {
  resize_window(in, h, w, {0, 0, h, w}, out);
}

void Resizer::resize_window(ImageView in, Index h, Index w, const Window& window,
                            std::uint8_t* out) {
  if (in.h < 1 || in.w < 1 || window.h < 1 || window.w < 1 || window.top < 0 || window.left < 0 ||
      window.top + window.h > h || window.left + window.w > w) {
    throw ShapeError(fmt::format("cannot resize {} x {} pixels to {} x {}, window {} x {} at {},{}",
                                 in.w, in.h, w, h, window.w, window.h, window.left, window.top));
  }
  const Index row_bytes = window.w * 3;
  if (in.h == h && in.w == w) {
    for (Index y = 0; y < window.h; ++y) {
      const auto* row = in.rgb + ((window.top + y) * w + window.left) * 3;
      std::memcpy(out + y * row_bytes, row, static_cast<std::size_t>(row_bytes));
    }
    return;
  }
  x_.prepare(in.w, w, window.left, window.w);
  y_.prepare(in.h, h, window.top, window.h);
  const Index first_row = y_.spans.front().start;
  const Index end_row = y_.spans.back().start + y_.spans.back().taps;
  rows_.resize(static_cast<std::size_t>((end_row - first_row) * row_bytes));
  sums_.resize(static_cast<std::size_t>(row_bytes));
  for (Index row = first_row; row < end_row; ++row) {
    make_columns(in, row, rows_.data() + (row - first_row) * row_bytes);
  }
  for (Index y = 0; y < window.h; ++y) make_row(y, first_row, out + y * row_bytes);
}

}  // namespace dfengine
