// Workspace for libraries. They want it at multiples of 256 bytes, and the arena of a plan promises
// less.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/base/shape.h"

namespace dfengine::cuda {

constexpr Index kWorkspaceAlignment = 256;

// What to book for a workspace of so many bytes.
constexpr Index workspace_room(Index bytes) {
  return bytes == 0 ? 0 : bytes + kWorkspaceAlignment - 1;
}
// Where the workspace lies in that room.
inline std::byte* workspace_in(void* room) {
  const auto place = reinterpret_cast<std::uintptr_t>(room) + kWorkspaceAlignment - 1;
  return reinterpret_cast<std::byte*>(place / kWorkspaceAlignment * kWorkspaceAlignment);
}

}  // namespace dfengine::cuda
