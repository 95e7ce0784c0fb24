#include "weights/onnx/onnx_writer.h"

#include <fmt/format.h>

#include <limits>

#include "kernels/base/error.h"
#include "weights/tensor_file.h"

#if DFENGINE_ONNX
#include "weights/onnx/onnx.pb.h"
#endif

namespace dfengine::weights {

#if DFENGINE_ONNX
namespace {

namespace pb = onnx_format;

// What the format's enumerations call these.
constexpr int kIrVersion = 8;  // the one that came with opset 17
constexpr int kOpset = 17;
constexpr int kFloat = 1;  // TensorProto.FLOAT
constexpr int kUint8 = 2, kInt32 = 6;
constexpr int kAttributeInt = 2;   // AttributeProto.INT
constexpr int kAttributeInts = 7;  // AttributeProto.INTS

void describe(pb::ValueInfo& value, const std::string& name,
              const std::vector<std::int64_t>& shape) {
  value.set_name(name);
  pb::TensorType& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(kFloat);
  for (const std::int64_t dim : shape) {
    pb::Dimension& d = *type.mutable_shape()->add_dim();
    if (dim == OnnxWriter::kBatch) {
      d.set_dim_param("batch");
    } else {
      d.set_dim_value(dim);
    }
  }
}

}  // namespace

struct OnnxWriter::State {
  pb::Model model;
};

OnnxWriter::OnnxWriter(const std::string& name) : state_(std::make_unique<State>()) {
  pb::Model& m = state_->model;
  m.set_ir_version(kIrVersion);
  m.set_producer_name("dfengine");
  m.add_opset_import()->set_version(kOpset);
  m.mutable_graph()->set_name(name);
}

void OnnxWriter::input(const std::string& name, const std::vector<std::int64_t>& shape) {
  describe(*state_->model.mutable_graph()->add_input(), name, shape);
}

void OnnxWriter::output(const std::string& name, const std::vector<std::int64_t>& shape) {
  describe(*state_->model.mutable_graph()->add_output(), name, shape);
}

void OnnxWriter::constant(const std::string& name, const std::vector<std::int64_t>& shape,
                          std::span<const float> values) {
  const Tensor checked = make_tensor(name, shape, values);
  pb::Tensor& t = *state_->model.mutable_graph()->add_initializer();
  for (const std::int64_t dim : shape) t.add_dims(dim);
  t.set_data_type(kFloat);
  t.set_name(name);
  t.set_raw_data(checked.bytes.data(), checked.bytes.size());
}

void OnnxWriter::integers(const std::string& name, const std::vector<std::int64_t>& shape,
                          DType dtype, std::span<const std::int32_t> values) {
  if (checked_count(shape) != std::ssize(values))
    throw ShapeError(fmt::format("{}: {} values do not fill its shape", name, values.size()));
  pb::Tensor& t = *state_->model.mutable_graph()->add_initializer();
  for (const std::int64_t dim : shape) t.add_dims(dim);
  t.set_data_type(dtype == DType::U8 ? kUint8 : kInt32);
  t.set_name(name);
  std::string bytes;
  for (const std::int32_t v : values)
    for (std::size_t i = 0; i < dtype_size(dtype); ++i)
      bytes += static_cast<char>(static_cast<std::uint32_t>(v) >> (8 * i) & 255);
  t.set_raw_data(bytes);
}

void OnnxWriter::node(const std::string& op, const std::string& name,
                      const std::vector<std::string>& inputs,
                      const std::vector<Attribute>& attributes) {
  pb::Node& node = *state_->model.mutable_graph()->add_node();
  for (const std::string& input : inputs) node.add_input(input);
  node.add_output(name);
  node.set_name(name);
  node.set_op_type(op);
  for (const auto& [key, value] : attributes) {
    pb::Attribute& a = *node.add_attribute();
    a.set_name(key);
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      a.set_i(*number);
      a.set_type(kAttributeInt);
    } else {
      for (const std::int64_t i : std::get<std::vector<std::int64_t>>(value)) a.add_ints(i);
      a.set_type(kAttributeInts);
    }
  }
}

void OnnxWriter::metadata(const std::string& key, const std::string& value) {
  pb::Entry& entry = *state_->model.add_metadata_props();
  entry.set_key(key);
  entry.set_value(value);
}

std::vector<std::byte> OnnxWriter::serialize() const {
  const std::size_t size = state_->model.ByteSizeLong();
  if (size > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw Error(fmt::format("{} bytes are too many for an ONNX file (limit 2 GiB)", size));
  std::vector<std::byte> bytes(size);
  state_->model.SerializeToArray(bytes.data(), static_cast<int>(size));
  return bytes;
}

#else

struct OnnxWriter::State {};

OnnxWriter::OnnxWriter(const std::string&) {
  throw Error(
      "this build writes no ONNX: install libprotobuf-dev and protobuf-compiler and configure with "
      "-DDFENGINE_ONNX=ON");
}

void OnnxWriter::input(const std::string&, const std::vector<std::int64_t>&) {}
void OnnxWriter::output(const std::string&, const std::vector<std::int64_t>&) {}
void OnnxWriter::constant(const std::string&, const std::vector<std::int64_t>&,
                          std::span<const float>) {}
void OnnxWriter::integers(const std::string&, const std::vector<std::int64_t>&, DType,
                          std::span<const std::int32_t>) {}
void OnnxWriter::node(const std::string&, const std::string&, const std::vector<std::string>&,
                      const std::vector<Attribute>&) {}
void OnnxWriter::metadata(const std::string&, const std::string&) {}
std::vector<std::byte> OnnxWriter::serialize() const {
  return {};
}

#endif

OnnxWriter::OnnxWriter(OnnxWriter&&) noexcept = default;
OnnxWriter::~OnnxWriter() = default;

}  // namespace dfengine::weights
