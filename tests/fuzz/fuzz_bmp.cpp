// libFuzzer target for BMP pictures; tests/fuzz.sh builds and runs it.
#include "tests/fuzz/pictures.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  dfengine::fuzz::check_picture(std::as_bytes(std::span(data, size)), "BMP");
  return 0;
}
