// From the engine's exceptions to the statuses and messages of the C interface.
#pragma once

#include "engine/interface/dfengine.h"

namespace dfengine::interface {

inline constexpr const char* kNoMemory = "out of memory";

// An exception as an embedder sees it. The message is the exception's own, and goes with it.
struct Failure {
  df_status status;
  const char* message;
};

// Of the exception that is being handled.
Failure current_failure() noexcept;

// Makes the exception that is being handled this thread's last error, and gives its status.
df_status keep_failure() noexcept;

// Runs body and lets nothing out of it but a status.
template <class Body>
df_status guarded(const Body& body) noexcept {
  try {
    body();
    return DF_OK;
  } catch (...) {
    return keep_failure();
  }
}

}  // namespace dfengine::interface
