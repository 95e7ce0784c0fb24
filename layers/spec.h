// What a value of a network is: a shape, and the type of its elements.
#pragma once

#include <string>

#include "kernels/base/error.h"
#include "kernels/base/half.h"
#include "kernels/base/index.h"
#include "kernels/base/shape.h"

namespace dfengine {

// The type of a value's elements. F64 serves the tests: it is the oracle. F16 lives on devices
// only.
enum class Element { U8, F16, BF16, F32, F64 };

constexpr Index element_size(Element e) {
  switch (e) {
    case Element::U8:
      return 1;
    case Element::F16:
    case Element::BF16:
      return 2;
    case Element::F32:
      return 4;
    case Element::F64:
      break;
  }
  return 8;
}

// What 8-bit integers stand for: scale * (q - zero). Pixels stand for themselves.
struct Quantization {
  float scale = 1;
  std::int32_t zero = 0;
  constexpr bool operator==(const Quantization&) const = default;
};

struct Spec {
  Shape shape;
  Element element = Element::F32;
  Quantization quantization = {};  // of U8
  constexpr Index bytes() const { return shape.count() * element_size(element); }
  constexpr bool operator==(const Spec&) const = default;
};

std::string to_string(const Shape& shape);

// Calls body(T{}) with the floating type of parameters, float or double, and returns what it
// returns. Throws Error for another element.
template <class Body>
auto with_parameter_type(Element e, Body&& body) {
  if (e == Element::F32) return body(float{});
  if (e == Element::F64) return body(double{});
  throw Error("an element type that the CPU does not compute in");
}

// The same for activations on the CPU: float, double or BFloat16.
template <class Body>
auto with_cpu_type(Element e, Body&& body) {
  if (e == Element::BF16) return body(BFloat16{});
  return with_parameter_type(e, body);
}

// The same for a device: Half, BFloat16 or float.
template <class Body>
auto with_device_type(Element e, Body&& body) {
  if (e == Element::F16) return body(Half{});
  if (e == Element::BF16) return body(BFloat16{});
  if (e == Element::F32) return body(float{});
  throw Error("an element type that devices do not compute in");
}

}  // namespace dfengine
