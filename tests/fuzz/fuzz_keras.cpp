// libFuzzer target for the .keras archive around HDF5; tests/fuzz.sh builds and runs it.
#include <cstdint>
#include <span>

#include "kernels/base/error.h"
#include "weights/keras/keras_zip.h"

// Any file gives a TensorFile or an Error.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  try {
    dfengine::weights::ZipArchive archive(std::as_bytes(std::span(data, size)), "fuzz");
    if (dfengine::weights::is_keras_zip(archive)) dfengine::weights::parse_keras_zip(archive);
  } catch (const dfengine::Error&) {
  }
  return 0;
}
