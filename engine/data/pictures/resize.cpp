#include "engine/data/pictures/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

double support_of(ResizeRule rule) {
  return rule == ResizeRule::Bicubic ? 2.0 : 1.0;
}

double weight_of(ResizeRule rule, double x) {
  x = std::abs(x);
  if (rule == ResizeRule::Bilinear) return std::max(1.0 - x, 0.0);
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

std::int32_t fixed_point(double share) {
  constexpr double kOne = 1 << kResampleFractionBits;
  return static_cast<std::int32_t>(share * kOne + (share < 0 ? -0.5 : 0.5));
}

}  // namespace

void Resizer::Axis::prepare(ResizeRule rule, Index in_size, Index out_size, Index first_output,
                            Index outputs) {
  if (made && in == in_size && out == out_size && first == first_output && count == outputs) return;
  // Tables that lack of memory leaves half-made must not pass for those of this size.
  made = false;
  in = in_size, out = out_size, first = first_output, count = outputs;
  start.resize(static_cast<std::size_t>(count));
  rule == ResizeRule::Nearest ? pick() : weigh(rule);
  made = true;
}

void Resizer::Axis::weigh(ResizeRule rule) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = support_of(rule) * stretch;
  taps = std::min(in, static_cast<Index>(std::ceil(support)) * 2 + 1);
  std::vector<double> exact(static_cast<std::size_t>(taps));
  std::vector<Index> lengths(static_cast<std::size_t>(count));
  weights.assign(static_cast<std::size_t>(count * taps), 0);
  Index longest = 1;
  for (Index i = 0; i < count; ++i) {
    const double centre = (static_cast<double>(first + i) + 0.5) * scale;
    const Index begin = std::max(static_cast<Index>(centre - support + 0.5), Index{0});
    const Index end = std::min(static_cast<Index>(centre + support + 0.5), in);
    double sum = 0;
    for (Index t = 0; t < end - begin; ++t) {
      const double x = (static_cast<double>(begin + t) - centre + 0.5) * (1.0 / stretch);
      sum += exact[at(t)] = weight_of(rule, x);
    }
    for (Index t = 0; t < end - begin; ++t) {
      weights[at(i * taps + t)] = fixed_point(exact[at(t)] / sum);
    }
    start[at(i)] = static_cast<std::int32_t>(begin);
    lengths[at(i)] = end - begin;
    longest = std::max(longest, end - begin);
  }
  // Every output gets the same number of weights; a span that would then pass the end begins
  // earlier, behind weights of 0.
  for (Index i = 0; i < count; ++i) {
    std::int32_t* from = weights.data() + i * taps;
    std::int32_t* to = weights.data() + i * longest;
    std::int32_t& begin = start[at(i)];
    const Index shift = std::max(begin + longest - in, Index{0});
    const Index n = lengths[at(i)];
    std::memmove(to + shift, from, static_cast<std::size_t>(n) * sizeof(*to));
    std::fill_n(to, shift, 0);
    std::fill(to + shift + n, to + longest, 0);
    begin -= static_cast<std::int32_t>(shift);
  }
  taps = longest;
}

// Pillow adds up the step instead of multiplying; the last bits decide some pixels.
void Resizer::Axis::pick() {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  double at = scale * 0.5;
  for (Index i = 0; i < first; ++i) at += scale;
  for (std::int32_t& s : start) {
    s = static_cast<std::int32_t>(std::min(static_cast<Index>(at), in - 1));
    at += scale;
  }
}

void Resizer::pick_pixels(const Source& in, std::uint8_t* out) const {
  for (Index y = 0; y < y_.count; ++y) {
    const std::uint8_t* row = in.rgb + y_.start[at(y)] * in.stride;
    for (Index x = 0; x < x_.count; ++x, out += 3) {
      const std::uint8_t* p = row + Index{3} * x_.start[at(x)];
      out[0] = p[0], out[1] = p[1], out[2] = p[2];
    }
  }
}

void Resizer::resize(ImageView in, Index h, Index w, std::uint8_t* out) {
  resize_window(in, h, w, {0, 0, h, w}, out);
}

void Resizer::resize_window(ImageView in, Index h, Index w, const CropWindow& window,
                            std::uint8_t* out) {
  if (in.h < 1 || in.w < 1 || window.h < 1 || window.w < 1 || window.top < 0 || window.left < 0 ||
      window.top + window.h > h || window.left + window.w > w) {
    throw ShapeError(fmt::format("cannot resize {} x {} pixels to {} x {}, window {} x {} at {},{}",
                                 in.w, in.h, w, h, window.w, window.h, window.left, window.top));
  }
  make({in.rgb, in.h, in.w, in.w * 3}, h, w, window, out);
}

void Resizer::resize_part(ImageView in, const CropWindow& part, Index h, Index w,
                          std::uint8_t* out) {
  if (h < 1 || w < 1 || part.h < 1 || part.w < 1 || part.top < 0 || part.left < 0 ||
      part.top + part.h > in.h || part.left + part.w > in.w) {
    throw ShapeError(fmt::format("cannot resize {} x {} pixels at {},{} of {} x {} to {} x {}",
                                 part.w, part.h, part.left, part.top, in.w, in.h, w, h));
  }
  const std::uint8_t* corner = in.rgb + (part.top * in.w + part.left) * 3;
  make({corner, part.h, part.w, in.w * 3}, h, w, {0, 0, h, w}, out);
}

void Resizer::make(const Source& in, Index h, Index w, const CropWindow& window,
                   std::uint8_t* out) {
  const Index row_bytes = window.w * 3;
  if (in.h == h && in.w == w) {
    for (Index y = 0; y < window.h; ++y) {
      const std::uint8_t* row = in.rgb + (window.top + y) * in.stride + window.left * 3;
      std::memcpy(out + y * row_bytes, row, static_cast<std::size_t>(row_bytes));
    }
    return;
  }
  x_.prepare(rule_, in.w, w, window.left, window.w);
  y_.prepare(rule_, in.h, h, window.top, window.h);
  if (rule_ == ResizeRule::Nearest) return pick_pixels(in, out);
  const Index first_row = y_.start.front();
  const Index end_row = y_.start.back() + y_.taps;
  rows_.resize(static_cast<std::size_t>((end_row - first_row) * row_bytes));
  const ResampleAxis axis{in.w, x_.count, x_.taps, x_.start.data(), x_.weights.data()};
  for (Index row = first_row; row < end_row; ++row) {
    cpu::resample_row(axis, in.rgb + row * in.stride, rows_.data() + (row - first_row) * row_bytes);
  }
  for (Index y = 0; y < window.h; ++y) {
    const Index top = y_.start[at(y)] - first_row;
    cpu::resample_column(row_bytes, y_.taps, y_.weights.data() + y * y_.taps, row_bytes,
                         rows_.data() + top * row_bytes, out + y * row_bytes);
  }
}

Index crop_start(Index in, Index out) {
  const Index d = in - out;
  return d / 2 + (d % 2 != 0 && d / 2 % 2 != 0 ? 1 : 0);
}

void cut_window(ImageView image, const CropWindow& window, std::uint8_t* out) {
  if (image.h < 1 || image.w < 1 || window.h < 1 || window.w < 1)
    throw ShapeError(fmt::format("cannot cut {} x {} pixels from a picture of {} x {}", window.w,
                                 window.h, image.w, image.h));
  // A whole number of periods above zero, then down again behind the last pixel.
  const auto reflected = [](Index i, Index n) {
    const Index period = std::max(2 * (n - 1), Index{1});
    const Index at = (i % period + period) % period;
    return std::min(at, period - at);
  };
  for (Index y = 0; y < window.h; ++y) {
    const std::uint8_t* row = image.rgb + reflected(window.top + y, image.h) * image.w * 3;
    if (window.left >= 0 && window.left + window.w <= image.w) {
      out = std::copy_n(row + window.left * 3, window.w * 3, out);
      continue;
    }
    for (Index x = 0; x < window.w; ++x)
      out = std::copy_n(row + reflected(window.left + x, image.w) * 3, 3, out);
  }
}

CropWindow middle_window(ImageView image, Index size) {
  const auto start = [size](Index in) {
    return in >= size ? crop_start(in, size) : -((size - in) / 2);
  };
  return {start(image.h), start(image.w), size, size};
}

Sides enlarged(ImageView image, Crop crop, Index size) {
  if (crop == Crop::Random) return {image.h, image.w};
  const Index side = (16 * size + 7) / 14;  // in integers; a tie cannot occur
  if (crop == Crop::None) return {side, side};
  const Index short_side = std::min(image.h, image.w);
  // The long side is cut, not rounded.
  return {image.h * side / short_side, image.w * side / short_side};
}

void prepare_image(ImageView image, Crop crop, Index size, Resizer& resizer, std::uint8_t* out) {
  if (size < 1 || image.h < 1 || image.w < 1) {
    throw ShapeError(fmt::format("cannot prepare a picture of {} x {} pixels as {} x {}", image.w,
                                 image.h, size, size));
  }
  if (crop == Crop::None) {
    resizer.resize(image, size, size, out);
    return;
  }
  if (crop == Crop::Random) return cut_window(image, middle_window(image, size), out);
  const auto [h, w] = enlarged(image, crop, size);
  resizer.resize_window(image, h, w, {crop_start(h, size), crop_start(w, size), size, size}, out);
}

}  // namespace dfengine
