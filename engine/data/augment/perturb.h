// What happens to pictures on their way through the world: compression, blur, rescaling, noise,
// light. Explicit parameters and no dice: augmentation draws them, eval --perturb sweeps them.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/pictures/image.h"
#include "engine/data/pictures/resize.h"

namespace dfengine {

// Buffers of these functions, grown on first use. One per thread.
struct PerturbScratch {
  Resizer resizer;
  Image image;
  std::vector<std::byte> file;
  std::vector<float> kernel, row, rows;
};

// All change the picture in place and throw ShapeError where it is empty.

// Written as JPEG in memory (4:2:0, quality 1 to 100) and read back: Pillow's pixels. UsageError
// for another quality.
void jpeg_recompress(Pixels image, int quality, PerturbScratch& scratch);

// Gaussian of standard deviation sigma in pixels, cut at 4 sigma, borders mirrored with the edge
// repeated (scipy.ndimage.gaussian_filter, as in CNNDetection), rounded to the nearest level. 0
// changes nothing; UsageError unless sigma is in [0, 100].
void gaussian_blur(Pixels image, double sigma, PerturbScratch& scratch);

// Resized to round(side * factor), at least 1, then back, both with resize.h's bilinear rule.
// UsageError unless factor is in (0, 4].
void rescale(Pixels image, double factor, PerturbScratch& scratch);

// Adds normal noise of standard deviation sigma, in levels of 255, rounded and cut to [0, 255]. The
// same (seed, key) gives the same noise for a picture of the same size. UsageError unless sigma is
// in [0, 255].
void add_noise(Pixels image, double sigma, std::uint64_t seed, std::uint64_t key);

// The four of torchvision's ColorJitter on PIL pictures, level for level: a blend of the picture
// with black, with its mean gray, or with its own gray picture, which a factor of 1 leaves alone;
// and a turn of the hue by shift in [-.5, .5] of a full circle. UsageError for a negative factor or
// another shift.
void brightness(Pixels image, double factor);
void contrast(Pixels image, double factor);
void saturation(Pixels image, double factor);
void hue(Pixels image, double shift);

}  // namespace dfengine
