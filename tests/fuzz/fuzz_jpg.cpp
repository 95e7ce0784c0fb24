// libFuzzer target for JPEG pictures, their header and Exif data; tests/fuzz.sh builds and runs it.
#include "engine/data/pictures/jpeg_header.h"
#include "tests/fuzz/pictures.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  if (const auto header = dfengine::read_jpeg_header(file)) {
    for (const int table : {0, 1})
      if (header->quantisation_sum(table) < 0) std::abort();
    static_cast<void>(header->quantisation_id());
  }
  dfengine::fuzz::check_picture(file, "JPEG");
  return 0;
}
