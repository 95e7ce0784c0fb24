#include "engine/data/pictures/webp_encode.h"

#include <fmt/format.h>

#include <memory>
#include <new>

#include "kernels/base/error.h"

#ifdef DFENGINE_WEBP
#include <webp/encode.h>
#endif

namespace dfengine {

#ifdef DFENGINE_WEBP
void encode_webp(ImageView image, int quality, std::vector<std::byte>& file) {
  if (quality < 1 || quality > 100)
    throw UsageError(fmt::format("WebP quality {} is not from 1 to 100", quality));
  if (image.h < 1 || image.w < 1 || image.h > WEBP_MAX_DIMENSION || image.w > WEBP_MAX_DIMENSION)
    throw ShapeError(fmt::format("a WebP picture of {} x {} pixels", image.w, image.h));
  std::uint8_t* bytes = nullptr;
  const std::size_t size =
      WebPEncodeRGB(image.rgb, static_cast<int>(image.w), static_cast<int>(image.h),
                    static_cast<int>(image.w * 3), static_cast<float>(quality), &bytes);
  // It fails for want of memory alone.
  if (size == 0) throw std::bad_alloc();
  const std::unique_ptr<std::uint8_t, void (*)(void*)> owned(bytes, WebPFree);
  const auto* begin = reinterpret_cast<const std::byte*>(bytes);
  file.assign(begin, begin + size);
}
#else
void encode_webp(ImageView, int, std::vector<std::byte>&) {
  throw UsageError(
      "this build does not write WebP: build it with libwebp-dev installed, or leave out "
      "--webp-prob");
}
#endif

}  // namespace dfengine
