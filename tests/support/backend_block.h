// Guarded memory of a backend (engine/selftest/backend_block.h), for tests.
#pragma once

#include <gtest/gtest.h>

#include "engine/selftest/backend_block.h"
#include "tests/support/device.h"
#include "tests/support/random_data.h"

namespace dfengine::test {

using dfengine::fetch;

// From host memory.
inline Doubles read(const void* from, const Spec& spec) {
  const auto* bytes = static_cast<const std::byte*>(from);
  return stored_values(spec.element, {bytes, bytes + spec.bytes()});
}

}  // namespace dfengine::test
