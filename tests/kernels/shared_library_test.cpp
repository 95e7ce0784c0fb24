// Libraries that are opened when the program asks for them: where they are found, what is said
// where they are not, and that no program needs one to start.
#include "kernels/cuda/tuning/shared_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>

#include "kernels/base/error.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/tuning/libraries.h"
#include "tests/support/variable.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine::test {
namespace {

using cuda::SharedLibrary;

struct Functions {
  SharedLibrary library{"libc.so.6"};
  DF_FUNCTION_OF(library, labs);
};

TEST(SharedLibrary, FunctionsHaveTheTypesOfTheirHeader) {
  EXPECT_EQ(Functions().labs(-3), 3);
}

TEST(SharedLibrary, WhatIsNotInstalledIsNamedAndWhereItWasLookedFor) {
  const std::string message =
      message_of<DeviceError>([] { SharedLibrary("libdfengine-none.so.13"); });
  for (const char* part : {"libdfengine-none.so.13", "No such file", "/usr/local/cuda/lib",
                           "nvidia/*/lib", "LD_LIBRARY_PATH"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
}

TEST(SharedLibrary, AFunctionThatIsNotThereIsNamed) {
  const SharedLibrary library("libm.so.6");
  EXPECT_EQ(message_of<DeviceError>([&] { library.function("cublasLtCreate"); }),
            "libm.so.6 has no function cublasLtCreate");
}

// Where pip puts NVIDIA's libraries, a program finds them without being told.
TEST(SharedLibrary, PackagesOfAPythonEnvironmentAreFound) {
  const ScratchFolder environment;
  const auto folder = environment.path() / "lib/python3.12/site-packages/nvidia/cu13/lib";
  std::filesystem::create_directories(folder);
  spill(folder / "libdfengine-broken.so.1", "no library");
  double (*ldexp)(double, int) = SharedLibrary("libm.so.6").function("ldexp");
  Dl_info mathematics{};
  ASSERT_NE(dladdr(reinterpret_cast<void*>(ldexp), &mathematics), 0);
  std::filesystem::copy_file(mathematics.dli_fname, folder / "libdfengine-test.so.1");
  const Variable active("VIRTUAL_ENV", environment.path());
  const SharedLibrary found("libdfengine-test.so.1");
  const std::string broken =
      message_of<DeviceError>([] { SharedLibrary("libdfengine-broken.so.1"); });
  ldexp = found.function("ldexp");
  EXPECT_EQ(ldexp(3, 4), 48);
  EXPECT_NE(broken.find("libdfengine-broken.so.1: file too short"), std::string::npos)
      << "a file that is there and cannot be opened: " << broken;
}

TEST(SharedLibrary, VersionsAreRead) {
  EXPECT_EQ(cuda::library_version(130100), "13.1.0");
  EXPECT_EQ(cuda::library_version(91902), "9.19.2");
}

// Of what the linker noted, libraries of NVIDIA's would keep the program from starting without
// them.
TEST(SharedLibrary, NoProgramNeedsOneToStart) {
  const std::string command = "readelf -d /proc/" + std::to_string(getpid()) + "/exe 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  if (pclose(pipe) != 0) GTEST_SKIP() << "no readelf here: " << text;
  ASSERT_NE(text.find("libc.so.6"), std::string::npos) << text;
  for (const char* name : {"libcublas", "libcudnn", "libcuda"})
    EXPECT_EQ(text.find(name), std::string::npos) << name << " is in\n" << text;
}

#if !DFENGINE_CUDA
TEST(Libraries, BuildsWithoutCudaHaveNone) {
  EXPECT_EQ(cuda::found_libraries(), "no libraries");
}
#else
TEST(Libraries, TheirVersionsAreTold) {
  const std::string found = cuda::found_libraries();
  EXPECT_TRUE(found.starts_with("cuBLASLt ") || found == "no cuBLASLt") << found;
}

// Opening it takes long, and it has one kernel to offer.
TEST(Libraries, CudnnIsLeftOutUnlessAskedFor) {
  const auto p = StemProblem::make({2, 32, 32, 3}, 32, Padding::Torch);
  cuda::Libraries libraries;
  {
    const Variable asked("DFENGINE_CUDNN", std::nullopt);
    EXPECT_TRUE(libraries.stem(cuda::StorageType::F16, p).empty());
    EXPECT_EQ(cuda::found_libraries().find("cuDNN"), std::string::npos);
  }
  const Variable asked("DFENGINE_CUDNN", "1");
  EXPECT_NE(cuda::found_libraries().find("cuDNN"), std::string::npos);
  if (cuda::available()) return;
  EXPECT_THROW(libraries.stem(cuda::StorageType::F16, p), DeviceError);
}
#endif

}  // namespace
}  // namespace dfengine::test
