// A look over an ONNX file's bytes before protobuf builds objects from them. Only onnx_file.cpp
// needs this.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace dfengine::weights {

// Walks the messages that onnx.proto declares. Throws ModelFileError with the byte offset for
// damaged or truncated bytes, and for more fields than any MobileNetV2 has: an object takes some
// hundred bytes of memory, but as few as two in the file.
void check_onnx_wire(std::span<const std::byte> file, const std::string& name_for_errors);

}  // namespace dfengine::weights
