// A library of NVIDIA's that is opened when the program runs and asks for it. The program then
// starts where it is not installed, and faster where it is: cuBLASLt alone has half a gigabyte.
#pragma once

#include <string>

namespace dfengine::cuda {

// Stays open until the process ends, because such libraries leave threads and handlers behind.
class SharedLibrary {
 public:
  // name: "libcublasLt.so.13". It is looked for where the loader looks (LD_LIBRARY_PATH and the
  // system's folders), then in the CUDA toolkit and where Python packages put it. Throws
  // DeviceError with the reasons.
  explicit SharedLibrary(const std::string& name);

  // A function's address, which becomes a pointer to a function of whatever type is asked for.
  class Function {
   public:
    explicit Function(void* address) : address_(address) {}
    template <class F>
    operator F*() const {
      return reinterpret_cast<F*>(address_);
    }

   private:
    void* address_;
  };
  // Throws DeviceError where the library has no such function.
  Function function(const char* name) const;

 private:
  std::string name_;
  void* handle_ = nullptr;
};

// "13.1.0", from how cuBLASLt and cuDNN tell it: 130100.
std::string library_version(std::size_t number);

}  // namespace dfengine::cuda

// A member that holds a function of a library, of the type that the library's header gives it.
#define DF_FUNCTION_OF(library, name) decltype(&::name) name = library.function(#name)
