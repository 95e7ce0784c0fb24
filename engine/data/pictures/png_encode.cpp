#include "engine/data/pictures/png_encode.h"

// Of this file alone, as that of synth: a program that links the library may have one of its own.
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

#include "kernels/base/error.h"

namespace dfengine {

std::vector<std::byte> encode_png(ImageView image) {
  if (image.h < 1 || image.w < 1) throw ShapeError("PNG: an empty picture");
  std::vector<std::byte> bytes;
  const auto append = [](void* to, void* from, int count) {
    const auto* begin = static_cast<const std::byte*>(from);
    auto* out = static_cast<std::vector<std::byte>*>(to);
    out->insert(out->end(), begin, begin + count);
  };
  const int w = static_cast<int>(image.w), h = static_cast<int>(image.h);
  if (stbi_write_png_to_func(append, &bytes, w, h, 3, image.rgb, 3 * w) == 0)
    throw Error("PNG: the encoder refused a picture of " + std::to_string(w) + "x" +
                std::to_string(h));
  return bytes;
}

}  // namespace dfengine
