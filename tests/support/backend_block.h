// Memory of a backend between two strips of NaN, and numbers in it of any element.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "engine/runtime/backend.h"
#include "tests/support/device.h"
#include "tests/support/random_data.h"

namespace dfengine::test {

using Doubles = std::vector<double>;
using Bytes = std::vector<std::byte>;

// Calls body with an element's type, whoever computes in it.
template <class Body>
auto with_any_element(Element e, Body&& body) {
  if (e == Element::U8) return body(std::uint8_t{});
  if (e == Element::F64) return body(double{});
  return with_device_element(e, body);
}

inline Bytes stored_bytes(Element e, const Doubles& values) {
  return with_any_element(e, [&](auto t) {
    const std::vector<decltype(t)> numbers = rounded<decltype(t)>(values);
    Bytes bytes(numbers.size() * sizeof t);
    if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
    return bytes;
  });
}

inline Doubles stored_values(Element e, const Bytes& bytes) {
  return with_any_element(e, [&](auto t) {
    Doubles values(bytes.size() / sizeof t);
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&t, bytes.data() + i * sizeof t, sizeof t);
      values[i] = value_of(t);
    }
    return values;
  });
}

// From host memory.
inline Doubles read(const void* from, const Spec& spec) {
  const auto* bytes = static_cast<const std::byte*>(from);
  return stored_values(spec.element, {bytes, bytes + spec.bytes()});
}

// The very numbers that are stored: what the double oracle is fed.
inline Doubles held(Element e, const Doubles& values) {
  return stored_values(e, stored_bytes(e, values));
}

// Waits.
inline Bytes fetch(const Backend& backend, ConstPlace from, Index bytes) {
  Bytes all(at(bytes));
  backend.download(all.data(), from.address, bytes);
  backend.synchronize();
  return all;
}
inline Doubles fetch(const Backend& backend, ConstPlace from, const Spec& spec) {
  return stored_values(spec.element, fetch(backend, from, spec.bytes()));
}

// Waits.
inline void put(const Backend& backend, Place to, const Bytes& bytes) {
  backend.upload(to.address, bytes.data(), std::ssize(bytes));
  backend.synchronize();
}

class BackendBlock {
 public:
  // Full of NaN: a value that is read, or never written, shows.
  BackendBlock(const Backend& backend, Index bytes)
      : backend_(&backend), bytes_(bytes), memory_(backend.allocate(bytes + 2 * strip())) {
    put(backend, {memory_.get()}, Bytes(at(bytes + 2 * strip()), kNaN));
  }
  BackendBlock(const Backend& backend, Element e, const Doubles& values)
      : BackendBlock(backend, std::ssize(values) * element_size(e)) {
    write(stored_bytes(e, values));
  }

  // Absent where it holds nothing.
  Place place() const { return {bytes_ > 0 ? memory_.get() + strip() : nullptr}; }
  Index size() const { return bytes_; }
  void write(const Bytes& bytes) { put(*backend_, {memory_.get() + strip()}, bytes); }
  void fill(std::byte value) { write(Bytes(at(bytes_), value)); }

  // Waits; fails the test if a strip was written to.
  Bytes bytes() const {
    const Bytes all = fetch(*backend_, {memory_.get()}, bytes_ + 2 * strip());
    const auto intact = [&](auto begin) {
      return std::all_of(begin, begin + strip(), [](std::byte b) { return b == kNaN; });
    };
    EXPECT_TRUE(intact(all.begin())) << "written before";
    EXPECT_TRUE(intact(all.end() - strip())) << "written behind";
    return {all.begin() + strip(), all.end() - strip()};
  }
  Doubles values(Element e) const { return stored_values(e, bytes()); }

 private:
  // Of every floating element.
  static constexpr std::byte kNaN{0xFF};
  // On a device more than a tile's row. Small on the CPU: differences make thousands of blocks.
  Index strip() const { return backend_->kind() == DeviceKind::Cpu ? 128 : 1024; }

  const Backend* backend_;
  Index bytes_;
  OwnedMemory memory_;
};

// What every step of a test is handed, in a backend's memory.
class StepMemory {
 public:
  StepMemory(const Backend& backend, const StepInput& input, const StepScalars& scalars)
      : queue_(backend.queue()), input_(backend, sizeof input), scalars_(backend, sizeof scalars) {
    input_.write(bytes_of(input));
    scalars_.write(bytes_of(scalars));
  }
  StepContext context() const {
    return {queue_, input_.place().as<StepInput>(), scalars_.place().as<StepScalars>()};
  }

 private:
  template <class S>
  static Bytes bytes_of(const S& s) {
    const auto* from = reinterpret_cast<const std::byte*>(&s);
    return {from, from + sizeof s};
  }
  Queue queue_;
  BackendBlock input_, scalars_;
};

// Fills a kernel's prepared block in host memory, as a session does. values: of the parameters.
// Fails the test if it writes outside.
inline Bytes prepared_bytes(const Kernel& kernel, const std::vector<ConstPlace>& values) {
  constexpr Index kStrip = 128;
  constexpr std::byte kNaN{0xFF};
  const Index bytes = kernel.needs.prepared;
  Bytes all(at(bytes + 2 * kStrip), kNaN);
  if (bytes > 0) kernel.prepare(values, {all.data() + kStrip});
  const auto is_nan = [](std::byte b) { return b == kNaN; };
  EXPECT_TRUE(std::all_of(all.begin(), all.begin() + kStrip, is_nan)) << "prepared before";
  EXPECT_TRUE(std::all_of(all.end() - kStrip, all.end(), is_nan)) << "prepared behind";
  return {all.begin() + kStrip, all.end() - kStrip};
}

}  // namespace dfengine::test
