// Memory of a backend between two strips of NaN, and numbers in it of any element.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "engine/runtime/backend.h"
#include "kernels/base/stored.h"

namespace dfengine {

using Doubles = std::vector<double>;
using Bytes = std::vector<std::byte>;

// Calls body with an element's type, whoever computes in it.
template <class Body>
auto with_any_type(Element e, Body&& body) {
  if (e == Element::U8) return body(std::uint8_t{});
  if (e == Element::F64) return body(double{});
  return with_device_type(e, body);
}

Bytes stored_bytes(Element e, const Doubles& values);
Doubles stored_values(Element e, const Bytes& bytes);
// The very numbers that are stored: what the double oracle is fed.
Doubles held(Element e, const Doubles& values);

// All wait.
Bytes fetch(const Backend& backend, ConstPlace from, Index bytes);
Doubles fetch(const Backend& backend, ConstPlace from, const Spec& spec);
void put(const Backend& backend, Place to, const Bytes& bytes);

class BackendBlock {
 public:
  // Full of NaN: a value that is read, or never written, shows. backend must outlive it.
  BackendBlock(const Backend& backend, Index bytes);
  BackendBlock(const Backend& backend, Element e, const Doubles& values);

  // Absent where it holds nothing.
  Place place() const { return {bytes_ > 0 ? memory_.get() + strip() : nullptr}; }
  Index size() const { return bytes_; }
  void write(const Bytes& bytes) { put(*backend_, {memory_.get() + strip()}, bytes); }
  void fill(std::byte value) { write(Bytes(at(bytes_), value)); }

  // Waits. Throws Error where a strip was written to.
  Bytes bytes() const;
  Doubles values(Element e) const { return stored_values(e, bytes()); }

 private:
  Index strip() const;

  const Backend* backend_;
  Index bytes_;
  OwnedMemory memory_;
};

// What every step is handed, in a backend's memory.
class StepMemory {
 public:
  StepMemory(const Backend& backend, const StepInput& input, const StepScalars& scalars);
  StepContext context() const {
    return {queue_, input_.place().as<StepInput>(), scalars_.place().as<StepScalars>()};
  }

 private:
  Queue queue_;
  BackendBlock input_, scalars_;
};

// Fills a kernel's prepared block in host memory, as a session does. values: of the parameters.
// Throws Error if it writes outside.
Bytes prepared_bytes(const Kernel& kernel, const std::vector<ConstPlace>& values);

}  // namespace dfengine
