// As in jpeg.cpp, no exception may cross libjpeg's C code: errors leave by longjmp.
#include "engine/data/pictures/jpeg_encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>

// After <cstdio>, whose names it uses.
#include <jpeglib.h>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

struct Encoder {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_destination_mgr destination{};
  char message[JMSG_LENGTH_MAX] = {};
  std::jmp_buf escape{};

  Encoder() = default;
  ~Encoder() { jpeg_destroy_compress(&jpeg); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
};

[[noreturn]] void give_up(j_common_ptr common) {
  auto& encoder = *static_cast<Encoder*>(common->client_data);
  common->err->format_message(common, encoder.message);
  std::longjmp(encoder.escape, 1);
}

void print_nothing(j_common_ptr) {}

// The file was made large enough for every picture of this size (file_bound), so it never fills.
void do_nothing(j_compress_ptr) {}
boolean on_full(j_compress_ptr jpeg) {
  give_up(reinterpret_cast<j_common_ptr>(jpeg));
}

// Headers, and more than any block takes: 64 coefficients of at most 26 bits with every byte
// followed by a stuffed zero; 4:2:0 has six blocks for 16 x 16 pixels.
std::size_t file_bound(ImageView image) {
  const Index squares = ((image.h + 15) / 16) * ((image.w + 15) / 16);
  return static_cast<std::size_t>(squares * 6 * 64 * 26 / 8 * 2 + 4096);
}

bool write(Encoder& encoder, ImageView image, int quality) {
  if (setjmp(encoder.escape)) return false;
  jpeg_compress_struct& jpeg = encoder.jpeg;
  jpeg_create_compress(&jpeg);
  jpeg.dest = &encoder.destination;
  jpeg.image_width = static_cast<JDIMENSION>(image.w);
  jpeg.image_height = static_cast<JDIMENSION>(image.h);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.rgb + Index{3} * image.w * jpeg.next_scanline);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

}  // namespace

std::span<const std::byte> encode_jpeg(ImageView image, int quality,
                                       std::vector<std::byte>& buffer) {
  if (quality < 1 || quality > 100) {
    throw UsageError(fmt::format("JPEG quality {}: from 1 to 100", quality));
  }
  if (image.h < 1 || image.w < 1 || image.h > JPEG_MAX_DIMENSION || image.w > JPEG_MAX_DIMENSION) {
    throw ShapeError(fmt::format("a JPEG cannot hold {} x {} pixels", image.w, image.h));
  }
  buffer.resize(std::max(buffer.size(), file_bound(image)));
  Encoder encoder;
  encoder.jpeg.err = jpeg_std_error(&encoder.errors);
  encoder.errors.error_exit = give_up;
  encoder.errors.output_message = print_nothing;
  encoder.jpeg.client_data = &encoder;
  encoder.destination.next_output_byte = reinterpret_cast<JOCTET*>(buffer.data());
  encoder.destination.free_in_buffer = buffer.size();
  encoder.destination.init_destination = do_nothing;
  encoder.destination.empty_output_buffer = on_full;
  encoder.destination.term_destination = do_nothing;
  if (!write(encoder, image, quality)) {
    throw Error(fmt::format("cannot encode {} x {} pixels as JPEG ({})", image.w, image.h,
                            encoder.message));
  }
  return std::span(buffer).first(buffer.size() - encoder.destination.free_in_buffer);
}

}  // namespace dfengine
