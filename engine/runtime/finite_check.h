// Finds the first layer whose numbers went wrong.
#pragma once

#include <functional>
#include <span>

#include "engine/runtime/binding.h"

namespace dfengine {

// Bytes of memory that a step wrote, readable by the host until the next call.
using Fetch = std::function<std::span<const std::byte>(const void* memory, Index bytes)>;

// What has just been run. Throws Error naming layer, pass, tensor and place where it wrote a NaN or
// an infinity. Called after every step, it names the first: all that the layer read was finite.
// gradients: false leaves backward steps out, for steps whose gradients may overflow.
void require_finite(const BoundStep& step, bool gradients, const Fetch& fetch);

}  // namespace dfengine
