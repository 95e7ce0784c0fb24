// From a picture file to the square input of a network.
#pragma once

#include <filesystem>

#include "engine/data/pictures/decoder.h"
#include "engine/data/pictures/image.h"
#include "engine/data/pictures/views.h"

namespace dfengine {

// How pictures become size x size pixels, and how large they may be.
struct Preparation {
  Index size = 224;
  Crop crop = Crop::None;
  ResizeRule resize = ResizeRule::Bilinear;
  Index max_pixels = kMaxImagePixels;
};

// Decodes and resizes. Every thread needs one of its own, because it holds buffers.
class Preparer {
 public:
  explicit Preparer(const Preparation& how)
      : how_(how), decoder_(how.max_pixels), resizer_(how.resize) {}

  // The file's picture, which the caller may use and change until the next call. Throws DataError
  // as decode_image does.
  Image& decode(const std::filesystem::path& file) { return decoder_.decode(file); }
  // The same of a file in memory; `name` stands in the errors.
  Image& decode(std::span<const std::byte> file, const std::string& name) {
    return decoder_.decode(file, name);
  }
  // Writes out [view_count(views), size, size, 3].
  void resize(ImageView image, Crop crop, Views views, std::uint8_t* out) {
    prepare_views(image, crop, how_.size, views, resizer_, out);
  }
  // Writes a window of the picture as it is, out [size, size, 3].
  void cut(ImageView image, const CropWindow& window, std::uint8_t* out) const {
    cut_window(image, window, out);
  }
  // Decodes the file and resizes its picture.
  void prepare(const std::filesystem::path& file, std::uint8_t* out, Views views = Views::One) {
    resize(decode(file), how_.crop, views, out);
  }
  void prepare(const Image& image, std::uint8_t* out) { resize(image, how_.crop, Views::One, out); }

 private:
  Preparation how_;
  ImageDecoder decoder_;
  Resizer resizer_;
};

}  // namespace dfengine
