#include "engine/selftest/backend_block.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

constexpr std::byte kNaN{0xFF};  // of every floating element
constexpr Index kHostStrip = 128;

// The bytes between two strips, which must be as they were.
Bytes between(const Bytes& all, Index strip) {
  const auto is_nan = [](std::byte b) { return b == kNaN; };
  if (!std::all_of(all.begin(), all.begin() + strip, is_nan))
    throw Error("memory before a tensor was written to");
  if (!std::all_of(all.end() - strip, all.end(), is_nan))
    throw Error("memory behind a tensor was written to");
  return {all.begin() + strip, all.end() - strip};
}

template <class S>
Bytes bytes_of(const S& s) {
  const auto* from = reinterpret_cast<const std::byte*>(&s);
  return {from, from + sizeof s};
}

}  // namespace

Bytes stored_bytes(Element e, const Doubles& values) {
  return with_any_type(e, [&](auto t) {
    Bytes bytes(values.size() * sizeof t);
    for (std::size_t i = 0; i < values.size(); ++i) {
      t = stored<decltype(t)>(values[i]);
      std::memcpy(bytes.data() + i * sizeof t, &t, sizeof t);
    }
    return bytes;
  });
}

Doubles stored_values(Element e, const Bytes& bytes) {
  return with_any_type(e, [&](auto t) {
    Doubles values(bytes.size() / sizeof t);
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&t, bytes.data() + i * sizeof t, sizeof t);
      values[i] = value_of(t);
    }
    return values;
  });
}

Doubles held(Element e, const Doubles& values) {
  return stored_values(e, stored_bytes(e, values));
}

Bytes fetch(const Backend& backend, ConstPlace from, Index bytes) {
  Bytes all(at(bytes));
  backend.download(all.data(), from.address, bytes);
  backend.synchronize();
  return all;
}

Doubles fetch(const Backend& backend, ConstPlace from, const Spec& spec) {
  return stored_values(spec.element, fetch(backend, from, spec.bytes()));
}

void put(const Backend& backend, Place to, const Bytes& bytes) {
  backend.upload(to.address, bytes.data(), std::ssize(bytes));
  backend.synchronize();
}

BackendBlock::BackendBlock(const Backend& backend, Index bytes)
    : backend_(&backend), bytes_(bytes), memory_(backend.allocate(bytes + 2 * strip())) {
  put(backend, {memory_.get()}, Bytes(at(bytes + 2 * strip()), kNaN));
}

BackendBlock::BackendBlock(const Backend& backend, Element e, const Doubles& values)
    : BackendBlock(backend, std::ssize(values) * element_size(e)) {
  write(stored_bytes(e, values));
}

// On a device more than a tile's row. Small on the CPU: differences make thousands of blocks.
Index BackendBlock::strip() const {
  return backend_->kind() == DeviceKind::Cpu ? kHostStrip : 1024;
}

Bytes BackendBlock::bytes() const {
  return between(fetch(*backend_, {memory_.get()}, bytes_ + 2 * strip()), strip());
}

StepMemory::StepMemory(const Backend& backend, const StepInput& input, const StepScalars& scalars)
    : queue_(backend.queue()), input_(backend, sizeof input), scalars_(backend, sizeof scalars) {
  input_.write(bytes_of(input));
  scalars_.write(bytes_of(scalars));
}

Bytes prepared_bytes(const Kernel& kernel, const std::vector<ConstPlace>& values) {
  Bytes all(at(kernel.needs.prepared + 2 * kHostStrip), kNaN);
  if (kernel.needs.prepared > 0) kernel.prepare(values, {all.data() + kHostStrip});
  return between(all, kHostStrip);
}

}  // namespace dfengine
