// Resizes pictures, bit for bit as Pillow's Image.resize does on RGB, to the square input of a
// network.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/pictures/image.h"
#include "kernels/base/shape.h"
#include "kernels/resample.h"

namespace dfengine {

// A part of the resized picture.
struct CropWindow {
  Index top = 0;
  Index left = 0;
  Index h = 0;
  Index w = 0;
};

// Bilinear and bicubic are antialiased: each output pixel is a weighted mean of the inputs within
// `support` of its centre, and the support grows with the factor when shrinking. The weights form a
// triangle, or Keys' cubic of 1981 with a = -0.5. They are fixed-point numbers with 22 fraction
// bits; columns are made first, rounded to 8 bits, then rows. (Pillow 13 and later make rows first
// where a picture loses over twice as many rows as columns, which differs by one level.) Nearest
// takes the input pixel below each output's centre.
//
// A Resizer holds weight tables and buffers, so that nothing is allocated once sizes repeat. Only
// one thread may use it at a time.
class Resizer {
 public:
  explicit Resizer(ResizeRule rule = ResizeRule::Bilinear) : rule_(rule) {}

  // Writes out [h, w, 3], which must not overlap the picture. Throws ShapeError for an empty image
  // or target.
  void resize(ImageView in, Index h, Index w, std::uint8_t* out);
  // Writes a window of the same result, out [window.h, window.w, 3], without computing the rest.
  // Throws ShapeError when the window does not lie in h x w.
  void resize_window(ImageView in, Index h, Index w, const CropWindow& window, std::uint8_t* out);
  // Resizes a part of the input alone, as Pillow's resize(..., box=part) with whole numbers does:
  // pixels outside `part` are as if they were not there. Throws ShapeError when `part` is empty or
  // does not lie in the picture.
  void resize_part(ImageView in, const CropWindow& part, Index h, Index w, std::uint8_t* out);

 private:
  // How the outputs first .. first+count-1 of one axis follow from its inputs.
  struct Axis {
    bool made = false;  // the tables of these sizes
    Index in = 0, out = 0, first = 0, count = 0;
    Index taps = 0;                     // of every output; shorter spans have weights of 0
    std::vector<std::int32_t> start;    // [count]
    std::vector<std::int32_t> weights;  // [count, taps]

    void prepare(ResizeRule rule, Index in_size, Index out_size, Index first_output, Index outputs);
    void weigh(ResizeRule rule);
    void pick();
  };

  // A picture whose rows lie `stride` bytes apart.
  struct Source {
    const std::uint8_t* rgb;
    Index h, w, stride;
  };

  void make(const Source& in, Index h, Index w, const CropWindow& window, std::uint8_t* out);
  void pick_pixels(const Source& in, std::uint8_t* out) const;

  ResizeRule rule_;
  Axis x_, y_;
  std::vector<std::uint8_t> rows_;  // columns done: [needed input rows, window.w, 3]
};

// Writes out [size, size, 3]. Throws ShapeError for an empty image or size < 1.
void prepare_image(ImageView image, Crop crop, Index size, Resizer& resizer, std::uint8_t* out);

// Writes out [window.h, window.w, 3], a part of the picture as it is. Where the window reaches over
// a border, the picture goes on mirrored, its border pixels once (numpy's pad with mode reflect).
// Throws ShapeError for an empty image or window.
void cut_window(ImageView image, const CropWindow& window, std::uint8_t* out);
// The window of size x size in the middle; it begins before the picture where that is smaller.
CropWindow middle_window(ImageView image, Index size);

// What a picture is resized to before size x size is cut from it: round(size * 256 / 224) on the
// short side (Crop::Center) or on both (Crop::None), and its own sides (Crop::Random).
struct Sides {
  Index h = 0;
  Index w = 0;
};
Sides enlarged(ImageView image, Crop crop, Index size);
// Where a cut from the middle begins: torchvision's round((in - out) / 2), halves to even.
Index crop_start(Index in, Index out);

}  // namespace dfengine
