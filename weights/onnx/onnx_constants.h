// The constants of an ONNX graph: its initializers and Constant nodes, in the file or beside it.
// Only onnx_file.cpp needs this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "weights/onnx/file_beside.h"
#include "weights/tensor_file.h"

namespace dfengine::onnx_format {  // of onnx.proto
class Node;
class Tensor;
}  // namespace dfengine::onnx_format

namespace dfengine::weights {

class OnnxConstants {
 public:
  // All of them together may take twice the bytes that the file and those beside it have, because
  // one constant may serve many nodes.
  OnnxConstants(std::size_t file_size, const FileBeside& beside, const std::string& name)
      : bytes_left_(2 * file_size), beside_(beside), name_(name) {}

  // Throws ModelFileError where the name is taken.
  void add(const std::string& name, const onnx_format::Tensor& tensor);
  // What a Constant node holds under any of its attributes.
  void add(const std::string& name, const onnx_format::Node& constant);
  bool contains(const std::string& name) const { return by_name_.contains(name); }
  // Null where no constant has the name.
  const onnx_format::Tensor* find(const std::string& name) const;

  // Its elements under another name. Throws ModelFileError for a type that no weight has, and where
  // its bytes do not fit its shape.
  Tensor read(const onnx_format::Tensor& tensor, const std::string& name);
  // The first few elements of integers; empty for other types.
  std::vector<std::int64_t> integers(const onnx_format::Tensor& tensor);

 private:
  [[noreturn]] void fail(const std::string& cause) const;
  // The bytes of a constant that lies in another file.
  std::span<const std::byte> external(const onnx_format::Tensor& tensor, const std::string& what);

  std::unordered_map<std::string, const onnx_format::Tensor*> by_name_;
  std::vector<std::shared_ptr<const onnx_format::Tensor>> made_;
  std::map<std::string, std::vector<std::byte>> files_;
  std::size_t bytes_left_;
  const FileBeside& beside_;
  const std::string& name_;
};

}  // namespace dfengine::weights
