// Pictures in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/enum_names.h"
#include "kernels/base/shape.h"

namespace dfengine {

// RGB with eight bits a channel, rows from the top. rgb.size() == h * w * 3.
struct Image {
  Index h = 0;
  Index w = 0;
  std::vector<std::uint8_t> rgb;
};

// A picture that someone else owns and that may be changed in place; rgb [h, w, 3].
struct Pixels {
  std::uint8_t* rgb = nullptr;
  Index h = 0;
  Index w = 0;

  std::size_t bytes() const { return static_cast<std::size_t>(h * w * 3); }
};

// A picture that someone else owns and that is only read.
struct ImageView {
  const std::uint8_t* rgb = nullptr;
  Index h = 0;
  Index w = 0;

  ImageView(const std::uint8_t* pixels, Index height, Index width)
      : rgb(pixels), h(height), w(width) {}
  ImageView(const Image& image) : rgb(image.rgb.data()), h(image.h), w(image.w) {}
  ImageView(const Pixels& pixels) : rgb(pixels.rgb), h(pixels.h), w(pixels.w) {}
};

// The limits on what a picture file may claim. A longer side would let a thin picture ask for
// gigabytes of resize rows; libjpeg writes and reads no longer one.
constexpr Index kMaxImageSide = 65500;
constexpr Index kMaxImagePixels = 100'000'000;  // the default of --max-pixels
constexpr std::uintmax_t kMaxImageFileBytes = std::uintmax_t{256} << 20;

// Decodes a JPEG, PNG, WebP or BMP, whatever its name says. Gray becomes RGB, and alpha is dropped
// without blending, as Pillow's convert("RGB") does. 16-bit samples keep their high byte, where
// Pillow makes gray ones white. Then the orientation that the file's Exif or XMP data asks for is
// applied, as ImageOps.exif_transpose does. Throws DataError with file name and cause for what
// cannot be read, is cut short, passes a limit or would take too much memory to decode
// (decode_checks.h), and for other formats, which it names. decoder.h serves many pictures.
Image decode_image(const std::filesystem::path& file);
// Decodes bytes that are already in memory; `name` stands in the errors.
Image decode_image(std::span<const std::byte> bytes, const std::string& name);

// How a picture's size is changed (resize.h).
enum class ResizeRule { Bilinear, Bicubic, Nearest };
template <>
inline constexpr auto enum_names<ResizeRule> =
    names_for<ResizeRule>("resize", {{"bilinear", ResizeRule::Bilinear},
                                     {"bicubic", ResizeRule::Bicubic},
                                     {"nearest", ResizeRule::Nearest}});

// None:   the picture is resized to size x size.
// Center: its short side is resized to round(size * 256 / 224), then size x size is cut from the
//         middle, both with torchvision's rounding.
// Random: nothing is resized. size x size is cut from the picture, at random in training and from
//         the middle otherwise; where the picture is smaller, it is mirrored at its borders.
enum class Crop { None, Center, Random };
template <>
inline constexpr auto enum_names<Crop> = names_for<Crop>("crop", {{"none", Crop::None},
                                                                  {"center", Crop::Center},
                                                                  {"random", Crop::Random}});

// Mirrors image [size, size, 3] left to right in place.
void mirror(std::uint8_t* image, Index size);

}  // namespace dfengine
