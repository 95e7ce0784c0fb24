// What happens to pictures on their way through the world: compression, blur, rescaling, noise,
// light. The strength of each is a parameter: augmentation draws it, and eval --perturb tries
// several.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/pictures/image.h"
#include "engine/data/pictures/resize.h"

namespace dfengine {

// Buffers of these functions, which grow when they are first used. Every thread needs its own.
struct PerturbScratch {
  Resizer resizer;
  Image image;
  std::vector<std::byte> file;
  std::vector<float> kernel, row, rows;
};

// All of these functions change the picture in place and throw ShapeError where it is empty.

// Writes the picture as JPEG in memory (4:2:0, quality 1 to 100) and reads it back, which gives
// Pillow's pixels. Throws UsageError for another quality.
void jpeg_recompress(Pixels image, int quality, PerturbScratch& scratch);

// Writes the picture as WebP in memory (webp_encode.h, quality 1 to 100) and reads it back. Throws
// UsageError for another quality and in a build without libwebp.
void webp_recompress(Pixels image, int quality, PerturbScratch& scratch);

// Filters with a Gaussian of standard deviation sigma in pixels. It is cut at 4 sigma, the borders
// are mirrored with the edge repeated (scipy.ndimage.gaussian_filter, as in CNNDetection), and the
// result is rounded to the nearest level. A sigma of 0 changes nothing. Throws UsageError unless
// sigma is in [0, 100].
void gaussian_blur(Pixels image, double sigma, PerturbScratch& scratch);

// Resizes to round(side * factor), which is at least 1, and back again, both with resize.h's
// bilinear rule. Throws UsageError unless factor is in (0, 4].
void rescale(Pixels image, double factor, PerturbScratch& scratch);

// Adds normal noise of standard deviation sigma, in levels of 255, rounded and cut to [0, 255]. The
// same (seed, key) gives the same noise for a picture of the same size. Throws UsageError unless
// sigma is in [0, 255].
void add_noise(Pixels image, double sigma, std::uint64_t seed, std::uint64_t key);

// The four changes of torchvision's ColorJitter on PIL pictures, level for level. The first three
// blend the picture with black, with its mean gray, or with its own gray picture; a factor of 1
// leaves it alone. The fourth turns the hue by `shift` of a full circle. They throw UsageError for
// a negative factor, or a shift outside [-.5, .5].
void brightness(Pixels image, double factor);
void contrast(Pixels image, double factor);
void saturation(Pixels image, double factor);
void hue(Pixels image, double shift);

}  // namespace dfengine
