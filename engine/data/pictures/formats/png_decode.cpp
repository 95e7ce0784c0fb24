#include "engine/data/pictures/formats/png_decode.h"

#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "engine/data/pictures/decode_checks.h"

namespace dfengine {
namespace {

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::byte> left;
  bool cut_short = false;
  char message[160] = {};

  explicit Reader(std::span<const std::byte> bytes);
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

// libpng calls the next functions from C code that no exception may cross: errors leave by longjmp
// to read_rows, past frames that hold no object with a destructor.
[[noreturn]] void give_up(png_structp png, png_const_charp message) {
  auto& reader = *static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(reader.message, message, sizeof(reader.message) - 1);
  png_longjmp(png, 1);
}

void pass_over(png_structp, png_const_charp) {}

void feed(png_structp png, png_bytep out, std::size_t size) {
  auto& reader = *static_cast<Reader*>(png_get_io_ptr(png));
  if (size > reader.left.size()) {
    reader.cut_short = true;
    png_error(png, "cut short");
  }
  std::memcpy(out, reader.left.data(), size);
  reader.left = reader.left.subspan(size);
}

Reader::Reader(std::span<const std::byte> bytes) : left(bytes) {
  png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, give_up, pass_over);
  if (png != nullptr) info = png_create_info_struct(png);
  if (info == nullptr) throw std::bad_alloc();
}

// Text, colour profiles and whatever else is no pixel is passed over unread.
void begin(Reader& reader) {
  png_set_read_fn(reader.png, &reader, feed);
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ours are checked before
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(reader.png, reader.info);
}

// Every kind of PNG becomes RGB of eight bits a channel. Returns how often its rows pass by.
int make_rgb(const Reader& reader) {
  png_set_palette_to_rgb(reader.png);
  png_set_expand_gray_1_2_4_to_8(reader.png);
  png_set_strip_16(reader.png);
  png_set_gray_to_rgb(reader.png);
  png_set_strip_alpha(reader.png);
  const int passes = png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return passes;
}

// False when libpng failed.
bool read_rows(Reader& reader, Image& out) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  begin(reader);
  const int passes = make_rgb(reader);
  const auto row_bytes = static_cast<std::size_t>(out.w) * 3;
  if (png_get_rowbytes(reader.png, reader.info) != row_bytes)
    png_error(reader.png, "its rows are no RGB");
  for (int pass = 0; pass < passes; ++pass)
    for (Index y = 0; y < out.h; ++y)
      png_read_row(reader.png, out.rgb.data() + static_cast<std::size_t>(y) * row_bytes, nullptr);
  png_read_end(reader.png, nullptr);  // on to the end mark: a file without one is cut short
  return true;
}

Index big_endian(std::span<const std::byte> four) {
  Index value = 0;
  for (std::byte b : four) value = value << 8 | std::to_integer<Index>(b);
  return value;
}

}  // namespace

void decode_png(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                Image& out) {
  // The header has its place: signature (8), length (4), "IHDR" (4), width (4), height (4).
  constexpr std::size_t kWidth = 16, kHeight = 20;
  if (bytes.size() < kHeight + 4)
    fail_decoding(name, fmt::format("the file is cut short at byte {}", bytes.size()));
  out.w = big_endian(bytes.subspan(kWidth, 4));
  out.h = big_endian(bytes.subspan(kHeight, 4));
  check_image_size(out.h, out.w, max_pixels, name);
  // Zeros: a pass of an interlaced picture leaves out most pixels.
  out.rgb.assign(static_cast<std::size_t>(out.h * out.w * 3), 0);
  Reader reader(bytes);
  if (read_rows(reader, out)) return;
  if (reader.cut_short)
    fail_decoding(name, fmt::format("the file is cut short at byte {}", bytes.size()));
  fail_decoding(name, fmt::format("damaged or unsupported file ({})", reader.message));
}

}  // namespace dfengine
