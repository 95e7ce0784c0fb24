#include "engine/data/pictures/formats/bmp_decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

// Of this file alone: a program that links the library may have an stb_image of its own, whose
// settings and code must not meet ours.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
// Zeroed: pixels that a damaged file never sets are then the same on every run.
#define STBI_MALLOC(bytes) std::calloc(1, bytes)
#define STBI_REALLOC(old, bytes) std::realloc(old, bytes)
#define STBI_FREE(p) std::free(p)
// A damaged file must not end the program, in no kind of build.
#define STBI_ASSERT(condition) static_cast<void>(0)
#include <stb_image.h>

#include "engine/data/pictures/decode_checks.h"

namespace dfengine {
namespace {

std::string stb_cause() {
  const char* reason = stbi_failure_reason();
  return fmt::format("damaged or unsupported file ({})", reason ? reason : "BMP");
}

// Feeds stb and remembers whether it asked for more than there is: stb itself reads zeros past the
// end, and would return a cut BMP with a black rest as if all were well.
struct ByteFeed {
  std::span<const std::byte> left;
  bool overrun = false;

  static int read(void* self, char* out, int size) {
    auto& r = *static_cast<ByteFeed*>(self);
    const std::size_t n = std::min(r.left.size(), static_cast<std::size_t>(std::max(size, 0)));
    std::memcpy(out, r.left.data(), n);
    r.left = r.left.subspan(n);
    r.overrun |= n == 0;
    return static_cast<int>(n);
  }
  static void skip(void* self, int size) {
    auto& r = *static_cast<ByteFeed*>(self);
    const std::size_t n = static_cast<std::size_t>(std::max(size, 0));
    r.overrun |= n > r.left.size();
    r.left = r.left.subspan(std::min(n, r.left.size()));
  }
  static int at_end(void* self) { return static_cast<ByteFeed*>(self)->left.empty(); }
};

struct StbFree {
  void operator()(stbi_uc* pixels) const { stbi_image_free(pixels); }
};

// Size from the header, before anything of that size is allocated.
void read_header(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                 int* h, int* w) {
  int channels = 0;
  if (!stbi_info_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()),
                             static_cast<int>(bytes.size()), w, h, &channels)) {
    fail_decoding(name, stb_cause());
  }
  // A BMP stored from the top down says so by a negative height.
  if (*h < 0 && *h >= -kMaxImageSide) *h = -*h;
  check_image_size(*h, *w, max_pixels, name);
}

}  // namespace

void decode_bmp(std::span<const std::byte> bytes, const std::string& name, Index max_pixels,
                Image& out) {
  int h = 0, w = 0, channels = 0;
  read_header(bytes, name, max_pixels, &h, &w);

  const stbi_io_callbacks callbacks = {ByteFeed::read, ByteFeed::skip, ByteFeed::at_end};
  ByteFeed feed{bytes};
  const std::unique_ptr<stbi_uc, StbFree> pixels(
      stbi_load_from_callbacks(&callbacks, &feed, &w, &h, &channels, 3));
  if (feed.overrun) {
    fail_decoding(name, fmt::format("the file is cut short at byte {}", bytes.size()));
  }
  // The size was checked: it is the system that has not so much.
  if (!pixels && std::string_view(stbi_failure_reason()) == "outofmem")
    fail_for_memory(name, Index{h} * w * 3);
  if (!pixels) fail_decoding(name, stb_cause());

  out.h = h;
  out.w = w;
  out.rgb.assign(pixels.get(), pixels.get() + out.h * out.w * 3);
}

}  // namespace dfengine
