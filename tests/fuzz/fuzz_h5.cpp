// libFuzzer target for the HDF5 reader and Keras' names; tests/fuzz.sh builds and runs it.
#include <cstdint>
#include <span>

#include "kernels/base/error.h"
#include "weights/hdf5/hdf5_file.h"
#include "weights/keras/source_keras.h"

// Any file gives a TensorFile or an Error.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  try {
    auto file = dfengine::weights::parse_hdf5(std::as_bytes(std::span(data, size)), "fuzz");
    for (const auto& tensor : file.tensors) static_cast<void>(tensor.count());
    dfengine::weights::translate_keras(std::move(file), "fuzz");
  } catch (const dfengine::Error&) {
  }
  return 0;
}
