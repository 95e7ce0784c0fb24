#include "engine/interface/errors.h"

#include <new>
#include <stdexcept>

#include "engine/interface/busy.h"
#include "kernels/base/error.h"

namespace dfengine::interface {
namespace {

constexpr const char* kNoMemory = "out of memory";

// shown is text, or a literal where there was no memory for a text.
struct LastError {
  std::string text;
  const char* shown = "";
};

LastError& last_error() {
  static thread_local LastError last;
  return last;
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Busy& e) {
    return {DF_BUSY, e.what()};
  } catch (const UsageError& e) {
    return {DF_USAGE, e.what()};
  } catch (const DataError& e) {
    return {DF_BAD_DATA, e.what()};
  } catch (const ModelFileError& e) {
    return {DF_BAD_MODEL, e.what()};
  } catch (const DeviceError& e) {
    return {DF_NO_DEVICE, e.what()};
  } catch (const OutOfMemory& e) {
    return {DF_NO_MEMORY, e.what()};
  } catch (const std::bad_alloc&) {
    return {DF_NO_MEMORY, kNoMemory};
  } catch (const std::length_error&) {  // of a container asked for more than there can be
    return {DF_NO_MEMORY, kNoMemory};
  } catch (const std::exception& e) {
    return {DF_FAILED, e.what()};
  } catch (...) {
    return {DF_FAILED, "an unknown failure"};
  }
}

df_status keep_failure() noexcept {
  LastError& last = last_error();
  try {
    Failure failure = current_failure();
    last.text = std::move(failure.message);
    last.shown = last.text.c_str();
    return failure.status;
  } catch (...) {
    last.shown = kNoMemory;
    return DF_NO_MEMORY;
  }
}

}  // namespace dfengine::interface

const char* df_last_error(void) {
  return dfengine::interface::last_error().shown;
}

const char* df_status_name(int32_t status) {
  switch (status) {
    case DF_OK:
      return "DF_OK";
    case DF_FAILED:
      return "DF_FAILED";
    case DF_USAGE:
      return "DF_USAGE";
    case DF_BAD_DATA:
      return "DF_BAD_DATA";
    case DF_BAD_MODEL:
      return "DF_BAD_MODEL";
    case DF_NO_DEVICE:
      return "DF_NO_DEVICE";
    case DF_NO_MEMORY:
      return "DF_NO_MEMORY";
    case DF_BUSY:
      return "DF_BUSY";
  }
  return "unknown";
}

const char* df_version(void) {
  return DFENGINE_VERSION;
}

int32_t df_abi_version(void) {
  return DF_ABI_VERSION;
}
