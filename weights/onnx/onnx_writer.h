// Builds an ONNX model node by node. Knows the format, not the network.
// Needs libprotobuf (CMake option DFENGINE_ONNX).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

class OnnxWriter {
 public:
  // A whole number or a list of them. Our operators need nothing else.
  using Attribute = std::pair<std::string, std::variant<std::int64_t, std::vector<std::int64_t>>>;
  // Stands for the batch in the shape of an input or output: its size is left open.
  static constexpr std::int64_t kBatch = -1;

  // An empty graph of opset 17 with this name. Throws Error in a build without protobuf.
  explicit OnnxWriter(const std::string& name);
  OnnxWriter(OnnxWriter&&) noexcept;
  ~OnnxWriter();

  // Float tensors that go in and come out.
  void input(const std::string& name, const std::vector<std::int64_t>& shape);
  void output(const std::string& name, const std::vector<std::int64_t>& shape);
  // A float constant. Throws ShapeError if values does not fill shape.
  void constant(const std::string& name, const std::vector<std::int64_t>& shape,
                std::span<const float> values);
  // A constant of U8 or I32, which hold every value.
  void integers(const std::string& name, const std::vector<std::int64_t>& shape, DType dtype,
                std::span<const std::int32_t> values);
  // A node with one output, which gets the node's name.
  void node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
            const std::vector<Attribute>& attributes = {});
  // An entry of metadata_props.
  void metadata(const std::string& key, const std::string& value);

  // The file's bytes. Throws Error beyond protobuf's 2 GiB.
  std::vector<std::byte> serialize() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dfengine::weights
