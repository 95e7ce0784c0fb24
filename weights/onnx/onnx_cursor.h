// A place in the nodes of an ONNX graph (kOnnxNodes), which are taken one by one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// y[i] = factor[i] x[i] + shift[i] of the channels.
struct ChannelScale {
  explicit ChannelScale(std::size_t channels) : factor(channels, 1), shift(channels, 0) {}
  std::vector<double> factor, shift;
};

class OnnxCursor {
 public:
  // `file`, as parse_onnx gave it, must outlive this.
  OnnxCursor(const TensorFile& file, const std::string& name_for_errors);

  // Throw ModelFileError: `cause`, and that another line was wanted here. Where the graph has
  // operators that no MobileNetV2 has, they are the cause.
  [[noreturn]] void fail(const std::string& cause) const;
  [[noreturn]] void mismatch(const std::string& wanted) const;

  const std::vector<std::string_view>& lines() const { return lines_; }
  bool at_end() const { return at_ == lines_.size(); }
  // The line at hand; "" at the end.
  std::string_view line() const { return at_end() ? std::string_view() : lines_[at_]; }
  // Whether the line is of this operator.
  bool next_is(std::string_view op) const;
  // Takes the line, which must be as expected. Returns the operand that names its result.
  std::string expect(const std::string& line);
  // Takes arithmetic with constants on x, as far as it goes, into `scale`. Returns the operand that
  // names its result.
  std::string arithmetic(std::string x, ChannelScale& scale);
  // The constant of the arithmetic node at hand, which has one number or one a channel.
  std::vector<double> constant(std::size_t channels) const;

  // A tensor of the file. Throws ModelFileError where there is none.
  const Tensor& tensor(const std::string& name) const;
  const TensorFile& file() const { return file_; }

 private:
  const TensorFile& file_;
  const std::string& name_;
  std::vector<std::string_view> lines_;
  std::size_t at_ = 0;
};

std::string_view first_word(std::string_view line);
// The tensor's elements, of floats.
std::vector<double> doubles(const Tensor& tensor);

}  // namespace dfengine::weights
