// Antialiased bilinear resize, bit for bit Pillow's Image.resize(..., BILINEAR) on RGB.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/image.h"
#include "kernels/shape.h"

namespace dfengine {

// A part of the resized picture.
struct Window {
  Index top = 0;
  Index left = 0;
  Index h = 0;
  Index w = 0;
};

// Each output pixel is a triangle-weighted mean of the inputs within `support` of its centre, and
// the support grows with the factor when shrinking. Weights are fixed-point numbers with 22
// fraction bits; columns are made first, rounded to 8 bits, then rows. (Pillow 13 and later make
// rows first where a picture loses over twice as many rows as columns: a level of difference.)
// Holds weight tables and buffers: no allocation once sizes repeat. One thread at a time.
class Resizer {
 public:
  // out [h, w, 3]. Throws ShapeError for an empty image or target.
  void resize(ImageView in, Index h, Index w, std::uint8_t* out);
  // The window of the same result, out [window.h, window.w, 3], without computing the rest.
  // Throws ShapeError when the window does not lie in h x w.
  void resize_window(ImageView in, Index h, Index w, const Window& window, std::uint8_t* out);

 private:
  // How the outputs first .. first+count-1 of one axis follow from its inputs.
  struct Axis {
    struct Span {
      Index start;
      Index taps;
    };
    Index in = 0, out = 0, first = 0, count = 0;
    Index stride = 0;                   // of weights, per output
    std::vector<Span> spans;            // [count]
    std::vector<std::int32_t> weights;  // [count, stride]

    void prepare(Index in_size, Index out_size, Index first_output, Index outputs);
  };

  void make_columns(ImageView in, Index row, std::uint8_t* out) const;
  void make_row(Index y, Index first_row, std::uint8_t* out);

  Axis x_, y_;
  std::vector<std::uint8_t> rows_;  // columns done: [needed input rows, window.w, 3]
  std::vector<std::int32_t> sums_;  // [window.w, 3]
};

}  // namespace dfengine
