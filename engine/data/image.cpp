#include "engine/data/image.h"

#include <fmt/format.h>
#include <stb_image.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>

#include "engine/data/decode_checks.h"
#include "engine/data/jpeg.h"
#include "engine/data/resize.h"
#include "engine/data/stb_limit.h"
#include "kernels/error.h"

namespace dfengine {
namespace {

// stb's name for a file that is none of its formats helps nobody.
std::string stb_cause() {
  const char* reason = stbi_failure_reason();
  if (!reason) return "damaged file";
  if (std::strcmp(reason, "unknown image type") == 0) return "not a JPEG, PNG or BMP picture";
  return fmt::format("damaged or unsupported file ({})", reason);
}

// Feeds stb and remembers whether it asked for more than there is: stb itself reads zeros past the
// end, and would return a cut BMP with a black rest as if all were well.
struct Reader {
  std::span<const std::byte> left;
  bool overrun = false;

  static int read(void* self, char* out, int size) {
    auto& r = *static_cast<Reader*>(self);
    const std::size_t n = std::min(r.left.size(), static_cast<std::size_t>(std::max(size, 0)));
    std::memcpy(out, r.left.data(), n);
    r.left = r.left.subspan(n);
    r.overrun |= n == 0;
    return static_cast<int>(n);
  }
  static void skip(void* self, int size) {
    auto& r = *static_cast<Reader*>(self);
    const std::size_t n = static_cast<std::size_t>(std::max(size, 0));
    r.overrun |= n > r.left.size();
    r.left = r.left.subspan(std::min(n, r.left.size()));
  }
  static int at_end(void* self) { return static_cast<Reader*>(self)->left.empty(); }
};

struct StbFree {
  void operator()(stbi_uc* pixels) const { stbi_image_free(pixels); }
};

// Most that a valid picture needs at once: 16-bit RGBA with PNG's filter byte before each row,
// twice for stb's doubling buffers, or the compressed bytes, also doubled.
std::size_t largest_allocation(int h, int w, std::size_t file_bytes) {
  const auto pixels = static_cast<std::size_t>(h) * (static_cast<std::size_t>(w) + 1);
  return pixels * 16 + file_bytes * 2 + 65536;
}

// Size from the header, before anything of that size is allocated.
void read_header(std::span<const std::byte> bytes, const std::string& name, int* h, int* w) {
  constexpr std::size_t kHeaderBytes = std::size_t{1} << 20;
  const StbAllocationLimit limit(kHeaderBytes);
  int channels = 0;
  if (!stbi_info_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()),
                             static_cast<int>(bytes.size()), w, h, &channels)) {
    fail_decoding(name, stb_cause());
  }
  // A BMP stored from the top down says so by a negative height.
  if (*h < 0 && *h >= -kMaxImageSide) *h = -*h;
  check_image_size(*h, *w, name);
}

Image decode_with_stb(std::span<const std::byte> bytes, const std::string& name) {
  int h = 0, w = 0, channels = 0;
  read_header(bytes, name, &h, &w);

  const StbAllocationLimit limit(largest_allocation(h, w, bytes.size()));
  const stbi_io_callbacks callbacks = {Reader::read, Reader::skip, Reader::at_end};
  Reader reader{bytes};
  const std::unique_ptr<stbi_uc, StbFree> pixels(
      stbi_load_from_callbacks(&callbacks, &reader, &w, &h, &channels, 3));
  if (reader.overrun) {
    fail_decoding(name, fmt::format("the file is cut short at byte {}", bytes.size()));
  }
  if (!pixels) fail_decoding(name, stb_cause());

  Image image{h, w, {}};
  image.rgb.assign(pixels.get(), pixels.get() + image.h * image.w * 3);
  return image;
}

}  // namespace

Image decode_image(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.empty()) fail_decoding(name, "the file is empty");
  if (bytes.size() > kMaxImageFileBytes) {
    fail_decoding(name,
                  fmt::format("{} bytes pass the limit of {}", bytes.size(), kMaxImageFileBytes));
  }
  return is_jpeg(bytes) ? decode_jpeg(bytes, name) : decode_with_stb(bytes, name);
}

Image decode_image(const std::filesystem::path& file) {
  const std::string name = file.string();
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) fail_decoding(name, "no such file");
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) fail_decoding(name, error.message());
  if (size > kMaxImageFileBytes) {
    fail_decoding(name, fmt::format("{} bytes pass the limit of {}", size, kMaxImageFileBytes));
  }
  std::vector<std::byte> bytes(size);
  std::ifstream stream(file, std::ios::binary);
  if (!stream) fail_decoding(name, "the file cannot be opened; check its permissions");
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!stream) fail_decoding(name, "the file cannot be read");
  return decode_image(bytes, name);
}

Index crop_start(Index in, Index out) {
  const Index d = in - out;
  return d / 2 + (d % 2 != 0 && d / 2 % 2 != 0 ? 1 : 0);
}

Sides enlarged(ImageView image, Crop crop, Index size) {
  const Index side = (16 * size + 7) / 14;  // in integers; a tie cannot occur
  if (crop == Crop::None) return {side, side};
  const Index short_side = std::min(image.h, image.w);
  // The long side is cut, not rounded.
  return {image.h * side / short_side, image.w * side / short_side};
}

void prepare_image(ImageView image, Crop crop, Index size, Resizer& resizer, std::uint8_t* out) {
  if (size < 1 || image.h < 1 || image.w < 1) {
    throw ShapeError(fmt::format("cannot prepare a picture of {} x {} pixels as {} x {}", image.w,
                                 image.h, size, size));
  }
  if (crop == Crop::None) {
    resizer.resize(image, size, size, out);
    return;
  }
  const auto [h, w] = enlarged(image, crop, size);
  resizer.resize_window(image, h, w, {crop_start(h, size), crop_start(w, size), size, size}, out);
}

void mirror(std::uint8_t* image, Index size) {
  for (Index y = 0; y < size; ++y) {
    std::uint8_t* row = image + y * size * 3;
    for (Index a = 0, b = size - 1; a < b; ++a, --b) {
      std::swap_ranges(row + 3 * a, row + 3 * a + 3, row + 3 * b);
    }
  }
}

}  // namespace dfengine
