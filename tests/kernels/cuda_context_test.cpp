// What dfengine::cuda says on machines and in builds without CUDA, and that it works on the others.
#include "kernels/cuda/context.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/support/device.h"

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

// Launches before the kernels in front have ended (native/early_launches.cuh): in the summary are
// their times where a captured row of them came out right.
TEST(EarlyLaunchesDevice, ARowOfThemComesOutRight) {
  DF_NEEDS_DEVICE();
  if (cuda::is_emulated()) GTEST_SKIP() << "the stand-in runs one kernel after the other";
  const std::string summary = cuda::device_summary();
  if (summary.find("compute capability 9.") == std::string::npos) GTEST_SKIP() << summary;
  EXPECT_NE(summary.find("a launch takes "), std::string::npos) << summary;
}

}  // namespace
}  // namespace dfengine
