// What dfengine::cuda says on machines and in builds without CUDA, and that it works on the others.
#include "kernels/cuda/context.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

std::string summary_error() {
  try {
    return "no error, but: " + cuda::device_summary();
  } catch (const DeviceError& error) {
    return error.what();
  }
}

#if DFENGINE_CUDA
TEST(CudaContext, SummaryNamesTheDevice) {
  if (!cuda::available()) GTEST_SKIP() << "no CUDA device: " << summary_error();
  const std::string summary = cuda::device_summary();
  EXPECT_NE(summary.find("compute capability"), std::string::npos) << summary;
  EXPECT_NE(summary.find("GiB"), std::string::npos) << summary;
}

TEST(CudaContext, WithoutADeviceTheErrorNamesTheCallAndTheDriver) {
  if (cuda::available()) GTEST_SKIP() << "this machine has a CUDA device";
  const std::string error = summary_error();
  for (const char* part : {"cudaGetDevice failed", "context.cu:", "driver", "nvidia-smi"})
    EXPECT_NE(error.find(part), std::string::npos) << error;
}
#else
TEST(CudaContext, BuildWithoutCudaSaysHowToGetIt) {
  EXPECT_FALSE(cuda::available());
  EXPECT_EQ(summary_error(), "no CUDA in this build: rebuild with --preset cuda");
}
#endif

}  // namespace
}  // namespace dfengine
