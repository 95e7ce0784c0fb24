#include "kernels/cuda/tuning/shared_library.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <vector>

#include "kernels/base/error.h"

namespace dfengine::cuda {
namespace {

// Patterns of the folders in which the toolkit and Python packages have libraries of NVIDIA's.
std::vector<std::string> places() {
  std::vector<std::string> all;
  const auto add = [&](const char* root, const std::string& below) {
    if (root != nullptr && *root != '\0') all.push_back(root + below);
  };
  add(std::getenv("CUDA_PATH"), "/lib*/");
  add("/usr/local/cuda", "/lib*/");
  // As nvidia/cu13/lib or, for CUDA 12, nvidia/cublas/lib; Debian says dist-packages.
  const std::string packages = "/lib/python3*/*-packages/nvidia/*/lib/";
  add(std::getenv("VIRTUAL_ENV"), packages);
  add(std::getenv("HOME"), "/.local" + packages);
  add("/usr/local", packages);
  return all;
}

std::vector<std::string> files_like(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> files;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return files;
}

// Its symbols are for itself alone: they do not mix with those of the program or of a library that
// the program has of its own.
void* open(const std::string& file) {
  return dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& name) : name_(name), handle_(open(name)) {
  if (handle_ != nullptr) return;
  std::string reasons = dlerror();
  std::string looked;
  for (const std::string& folder : places()) {
    looked += (looked.empty() ? "" : ", ") + folder;
    for (const std::string& file : files_like(folder + name)) {
      handle_ = open(file);
      if (handle_ != nullptr) return;
      reasons += std::string("; ") + dlerror();
    }
  }
  throw DeviceError(reasons + "; looked in " + looked +
                    " too: install it, or name its folder in LD_LIBRARY_PATH");
}

SharedLibrary::Function SharedLibrary::function(const char* name) const {
  void* const address = dlsym(handle_, name);
  if (address == nullptr) throw DeviceError(name_ + " has no function " + name);
  return Function(address);
}

std::string library_version(std::size_t number) {
  return std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
         std::to_string(number % 100);
}

}  // namespace dfengine::cuda
