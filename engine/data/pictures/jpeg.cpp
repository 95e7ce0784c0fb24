// JPEG through libjpeg's own interface. Its defaults (exact integer IDCT, smooth chroma upsampling)
// are Pillow's.
#include "engine/data/pictures/jpeg.h"

#include <fmt/format.h>

#include <csetjmp>
#include <cstdint>
#include <cstdio>

// After <cstdio>, whose names it uses.
#include <jpeglib.h>
// After jpeglib.h, whose version its numbers depend on.
#include <jerror.h>

#include "engine/data/pictures/decode_checks.h"

#ifndef LIBJPEG_TURBO_VERSION
#error "this libjpeg is not libjpeg-turbo: it upsamples chroma otherwise, and other pixels come out"
#endif

namespace dfengine {
namespace {

// More than check_decode_bytes lets pass. Past it libjpeg would want a file on disk, and fails.
long library_bytes(Index max_pixels) {
  return kDecodeBytesPerPixel * max_pixels + 2 * kSmallDecodeBytes;
}

// Of two bytes each, for all blocks of a picture that comes in more than one scan.
Index coefficient_bytes(jpeg_decompress_struct& jpeg) {
  Index bytes = 0;
  if (!jpeg_has_multiple_scans(&jpeg)) return bytes;
  for (const jpeg_component_info& c : std::span(jpeg.comp_info, at(jpeg.num_components)))
    bytes += 2 * DCTSIZE2 * Index{c.width_in_blocks} * Index{c.height_in_blocks};
  return bytes;
}

struct Decoder {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  char message[JMSG_LENGTH_MAX] = {};
  std::jmp_buf escape{};
  long memory;

  Decoder(std::span<const std::byte> bytes, Index max_pixels);
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

// libjpeg calls the next functions from C code that no exception may cross: errors leave by longjmp
// to read_header or read_pixels, past frames that hold no object with a destructor.
[[noreturn]] void give_up(j_common_ptr common) {
  auto& decoder = *static_cast<Decoder*>(common->client_data);
  common->err->format_message(common, decoder.message);
  std::longjmp(decoder.escape, 1);
}

// Warnings after which libjpeg goes on with pixels that it made up.
bool loses_pixels(int code) {
  switch (code) {
    case JWRN_ARITH_BAD_CODE:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
      return true;
    default:
      return false;
  }
}

// level -1: a warning; above: a trace.
void on_message(j_common_ptr common, int level) {
  if (level < 0 && loses_pixels(common->err->msg_code)) give_up(common);
}

void print_nothing(j_common_ptr) {}

void do_nothing(j_decompress_ptr) {}

// All bytes were there from the start.
boolean on_empty(j_decompress_ptr jpeg) {
  ERREXIT(jpeg, JERR_INPUT_EOF);
  return FALSE;
}

void skip_bytes(j_decompress_ptr jpeg, long n) {
  if (n <= 0) return;
  if (static_cast<std::size_t>(n) > jpeg->src->bytes_in_buffer) ERREXIT(jpeg, JERR_INPUT_EOF);
  jpeg->src->next_input_byte += n;
  jpeg->src->bytes_in_buffer -= static_cast<std::size_t>(n);
}

bool too_many_scans(const Decoder& decoder) {
  return decoder.jpeg.input_scan_number > kMaxJpegScans;
}

void on_progress(j_common_ptr common) {
  if (too_many_scans(*static_cast<Decoder*>(common->client_data))) give_up(common);
}

Decoder::Decoder(std::span<const std::byte> bytes, Index max_pixels)
    : memory(library_bytes(max_pixels)) {
  jpeg.err = jpeg_std_error(&errors);
  errors.error_exit = give_up;
  errors.emit_message = on_message;
  errors.output_message = print_nothing;
  jpeg.client_data = this;
  source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  source.bytes_in_buffer = bytes.size();
  source.init_source = do_nothing;
  source.fill_input_buffer = on_empty;
  source.skip_input_data = skip_bytes;
  source.resync_to_restart = jpeg_resync_to_restart;
  source.term_source = do_nothing;
  progress.progress_monitor = on_progress;
}

// Both: false when libjpeg failed.
bool read_header(Decoder& decoder) {
  if (setjmp(decoder.escape)) return false;
  jpeg_create_decompress(&decoder.jpeg);
  decoder.jpeg.mem->max_memory_to_use = decoder.memory;
  decoder.jpeg.src = &decoder.source;
  decoder.jpeg.progress = &decoder.progress;
  jpeg_read_header(&decoder.jpeg, TRUE);
  return true;
}

// inks [w, 4], each 255 where nothing is printed; rgb [w, 3]. Pillow's formula: the paper that
// black leaves, less the part that the ink takes, a * b / 255 rounded.
void inks_to_rgb(const std::uint8_t* inks, Index w, std::uint8_t* rgb) {
  for (Index x = 0; x < w; ++x, inks += 4, rgb += 3) {
    const int paper = inks[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - inks[c]) * paper + 128;
      rgb[c] = static_cast<std::uint8_t>(paper - (((product >> 8) + product) >> 8));
    }
  }
}

bool read_pixels(Decoder& decoder, std::uint8_t* rgb) {
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  if (setjmp(decoder.escape)) return false;
  const bool inks = jpeg.num_components == 4;
  jpeg.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  JSAMPARRAY ink_row = nullptr;
  if (inks) {
    ink_row = jpeg.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&jpeg), JPOOL_IMAGE,
                                     4 * jpeg.output_width, 1);
  }
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = rgb + Index{3} * jpeg.output_width * jpeg.output_scanline;
    jpeg_read_scanlines(&jpeg, inks ? ink_row : &row, 1);
    if (inks) inks_to_rgb(*ink_row, jpeg.output_width, row);
  }
  jpeg_finish_decompress(&jpeg);  // reads on to the end marker: a file without one is cut short
  return true;
}

[[noreturn]] void fail(const Decoder& decoder, std::size_t file_bytes, const std::string& name) {
  if (decoder.errors.msg_code == JERR_OUT_OF_MEMORY)
    fail_for_memory(name, Index{3} * decoder.jpeg.image_height * decoder.jpeg.image_width);
  if (decoder.errors.msg_code == JERR_INPUT_EOF) {
    fail_decoding(name, fmt::format("the file is cut short at byte {}", file_bytes));
  }
  if (too_many_scans(decoder)) {
    fail_decoding(name,
                  fmt::format("more than {} scans; save it as a baseline JPEG", kMaxJpegScans));
  }
  fail_decoding(name, fmt::format("damaged or unsupported file ({})", decoder.message));
}

}  // namespace

void decode_jpeg(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                 Image& out) {
  Decoder decoder(bytes, max_pixels);
  if (!read_header(decoder)) fail(decoder, bytes.size(), name);
  out.h = decoder.jpeg.image_height;
  out.w = decoder.jpeg.image_width;
  check_image_size(out.h, out.w, max_pixels, name);
  check_decode_bytes(out, coefficient_bytes(decoder.jpeg), max_pixels, "JPEG of several scans",
                     name);
  out.rgb.resize(static_cast<std::size_t>(out.h * out.w * 3));
  if (!read_pixels(decoder, out.rgb.data())) fail(decoder, bytes.size(), name);
}

}  // namespace dfengine
