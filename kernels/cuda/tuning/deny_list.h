// Which kernels ended the program, or its CUDA context, when they were tried. No process survives
// such a kernel, so the next one must know.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "kernels/base/error.h"

namespace dfengine::cuda {

// The CUDA context is gone: nothing more can be done on the device in this process.
class DeviceLost : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

class DenyList {
 public:
  // Remembers nothing.
  DenyList() = default;
  // folder: holds a file for each kernel that did not come back, and for each that is being tried.
  // Where it cannot be written nothing is remembered. machine: says on what a kernel's behaviour
  // depends, so that it is tried again where that changes; asked at the first attempt.
  DenyList(std::filesystem::path folder, std::function<std::string()> machine)
      : folder_(std::move(folder)), machine_(std::move(machine)) {}

  // Runs body, which tries the kernel, and lets its exceptions pass. DeviceLost puts the kernel on
  // the list, and then says so; so do two processes in turn that end meanwhile, of which the first
  // may have been stopped by somebody. Throws DeviceError with the file's name, and runs nothing,
  // for a kernel that is on it. Other processes may try the same kernel at the same time.
  void attempt(const std::string& kernel, const std::function<void()>& body);

 private:
  const std::string& machine();

  std::optional<std::filesystem::path> folder_;
  std::function<std::string()> machine_;
  std::optional<std::string> asked_;
};

}  // namespace dfengine::cuda
