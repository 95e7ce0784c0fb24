// From a picture file to the square input of a network.
#pragma once

#include <filesystem>

#include "engine/data/decoder.h"
#include "engine/data/image.h"
#include "engine/data/resize.h"
#include "engine/data/views.h"

namespace dfengine {

// How pictures become size x size pixels, and how large they may be.
struct Preparation {
  Index size = 224;
  Crop crop = Crop::None;
  ResizeRule resize = ResizeRule::Bilinear;
  Index max_pixels = kMaxImagePixels;
};

// Decodes and resizes with buffers of its own. One per thread.
class Preparer {
 public:
  explicit Preparer(const Preparation& how)
      : how_(how), decoder_(how.max_pixels), resizer_(how.resize) {}

  // out [size, size, 3]. Throws DataError as decode_image does.
  void prepare(const std::filesystem::path& file, std::uint8_t* out) {
    prepare_image(decoder_.decode(file), how_.crop, how_.size, resizer_, out);
  }

  // In two parts, where a picture is changed before it is resized, or wanted in several forms:
  // out [view_count(views), size, size, 3]. The decoded picture stands until the next call.
  Image& decode(const std::filesystem::path& file) { return decoder_.decode(file); }
  void prepare(ImageView image, Crop crop, Views views, std::uint8_t* out) {
    prepare_views(image, crop, how_.size, views, resizer_, out);
  }

 private:
  Preparation how_;
  ImageDecoder decoder_;
  Resizer resizer_;
};

}  // namespace dfengine
