#include "layers/layer.h"

#include <fmt/format.h>

namespace dfengine {

std::string to_string(const Shape& s) {
  return fmt::format("[{}, {}, {}, {}]", s.n, s.h, s.w, s.c);
}

Index ParamSpec::count() const {
  Index n = 1;
  for (Index d : file_shape) n *= d;
  return n;
}

void Layer::backward(const LayerContext&, const LayerIo&) const {
  throw Error("layer " + name() + " (" + kind() + ") has no gradient");
}

void Layer::device_forward(const DeviceContext&, const LayerIo&) const {
  throw Error("layer " + name() + " (" + kind() + ") has no form for CUDA devices");
}

void Layer::device_backward(const DeviceContext&, const LayerIo&) const {
  throw Error("layer " + name() + " (" + kind() + ") has no gradient on CUDA devices");
}

void Layer::fail_shape(const std::string& problem) const {
  throw ShapeError("layer " + name_ + ": " + problem);
}

void Layer::expect_count(std::span<const Spec> in, std::size_t count) const {
  if (in.size() != count)
    fail_shape(fmt::format("takes {} inputs, {} were given", count, in.size()));
  for (const Spec& s : in)
    if (s.shape.n < 1 || s.shape.h < 1 || s.shape.w < 1 || s.shape.c < 1)
      fail_shape("input " + to_string(s.shape) + " is empty");
}

void Layer::expect_inputs(std::span<const Spec> in, std::size_t count) const {
  expect_count(in, count);
  for (const Spec& s : in)
    if (s.element == Element::U8)
      fail_shape("takes floating-point numbers, input " + to_string(s.shape) + " is uint8");
}

std::string activation_suffix(Activation activation) {
  switch (activation) {
    case Activation::Relu:
      return "+relu";
    case Activation::Relu6:
      return "+relu6";
    case Activation::None:
      break;
  }
  return "";
}

}  // namespace dfengine
