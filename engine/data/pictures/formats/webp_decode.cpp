#include "engine/data/pictures/formats/webp_decode.h"

#include <fmt/format.h>

#include "engine/data/pictures/decode_checks.h"

#ifdef DFENGINE_WEBP
#include <webp/decode.h>
#endif

namespace dfengine {

#ifdef DFENGINE_WEBP
namespace {

// RIFF's own length: libwebp does not miss what comes after the pixels.
std::size_t claimed_bytes(std::span<const std::byte> bytes) {
  std::size_t size = 0;
  for (std::size_t i = 8; i > 4; --i) size = size << 8 | std::to_integer<std::size_t>(bytes[i - 1]);
  return size + 8;
}

[[noreturn]] void fail(VP8StatusCode status, std::size_t file_bytes, const std::string& name) {
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status == VP8_STATUS_NOT_ENOUGH_DATA || status == VP8_STATUS_SUSPENDED)
    fail_decoding(name, fmt::format("the file is cut short at byte {}", file_bytes));
  fail_decoding(name, "damaged or unsupported file (WebP)");
}

}  // namespace

void decode_webp(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                 Image& out) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  WebPDecoderConfig config;
  WebPInitDecoderConfig(&config);
  const VP8StatusCode known = WebPGetFeatures(data, bytes.size(), &config.input);
  if (known != VP8_STATUS_OK) fail(known, bytes.size(), name);
  if (config.input.has_animation != 0)
    fail_decoding(name, "an animated WebP, of which none is the picture; save one of them");
  out.h = config.input.height;
  out.w = config.input.width;
  check_image_size(out.h, out.w, max_pixels, name);
  constexpr int kLossless = 2;
  // Its own pixels of four bytes.
  if (config.input.format == kLossless)
    check_decode_bytes(out, 4 * out.h * out.w, max_pixels, "lossless WebP", name);
  if (claimed_bytes(bytes) > bytes.size()) fail(VP8_STATUS_NOT_ENOUGH_DATA, bytes.size(), name);
  out.rgb.resize(static_cast<std::size_t>(out.h * out.w * 3));
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {out.rgb.data(), static_cast<int>(out.w * 3), out.rgb.size()};
  const VP8StatusCode status = WebPDecode(data, bytes.size(), &config);
  if (status != VP8_STATUS_OK) fail(status, bytes.size(), name);
}
#else
void decode_webp(std::span<const std::byte>, const std::string& name, Index, Image&) {
  fail_decoding(name,
                "a WebP picture, which this build does not read: build it with libwebp-dev "
                "installed, or convert the picture to JPEG or PNG");
}
#endif

}  // namespace dfengine
