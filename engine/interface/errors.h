// From the engine's exceptions to the statuses and messages of the C interface.
#pragma once

#include <string>

#include "engine/interface/dfengine.h"

namespace dfengine::interface {

// An exception as an embedder sees it.
struct Failure {
  df_status status = DF_OK;
  std::string message;
};

// Of the exception that is being handled. Throws nothing but std::bad_alloc.
Failure current_failure();

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
