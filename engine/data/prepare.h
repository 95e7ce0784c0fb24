// From a picture file to the square input of a network.
#pragma once

#include <filesystem>

#include "engine/data/decoder.h"
#include "engine/data/image.h"
#include "engine/data/resize.h"

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

 private:
  Preparation how_;
  ImageDecoder decoder_;
  Resizer resizer_;
};

}  // namespace dfengine
