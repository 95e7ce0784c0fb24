#include "engine/interface/errors.h"

#include <cstring>
#include <new>
#include <stdexcept>

#include "engine/interface/busy.h"
#include "kernels/base/error.h"

namespace dfengine::interface {
namespace {

// Of a size that a thread with the least stack can spare. It needs no memory, neither for the text
// nor for a destructor: where that cannot be registered with the thread, glibc ends the process.
thread_local char last_error[2048] = "";

// A longer text ends in dots, behind its last whole character of UTF-8.
void keep(const char* text) {
  constexpr char kMore[] = "...";
  std::size_t n = std::strlen(text);
  const bool fits = n < sizeof last_error;
  if (!fits) {
    n = sizeof last_error - sizeof kMore;
    while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) --n;
  }
  std::memcpy(last_error, text, n);
  std::strcpy(last_error + n, fits ? "" : kMore);
}

}  // namespace

Failure current_failure() noexcept {
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
  const Failure failure = current_failure();
  keep(failure.message);
  return failure.status;
}

}  // namespace dfengine::interface

const char* df_last_error(void) {
  return dfengine::interface::last_error;
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
