#include "kernels/cuda/pointwise/pointwise_epilogue.h"

#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kThreads = 256;

// groups: of eight channels, in a row and in all. The residual may be y: no __restrict__ there.
template <class T>
__global__ void __launch_bounds__(kThreads)
    epilogue_kernel(unsigned groups_of_row, unsigned groups, Epilogue<T, float> epilogue, T* y) {
  await_previous_kernels();
  const unsigned group = blockIdx.x * kThreads + threadIdx.x;
  if (group >= groups) return;
  const Index at = Index{group} * kVector;
  float bias[kVector], sum[kVector];
  load_bias(epilogue, static_cast<int>(group % groups_of_row) * kVector, bias);
  load8(y + at, sum);
  store_output(epilogue, bias, at, sum, y);
}

}  // namespace

template <class T>
void pointwise_epilogue(Stream stream, const PointwiseProblem& p,
                        const Epilogue<T, float>& epilogue, T* y) {
  constexpr const char* kName = "pointwise epilogue";
  require_vectors(kName, p.k, {y, epilogue.bias, epilogue.residual});
  const unsigned groups = narrow_count(kName, p.m, p.m * p.k / kVector);
  launch(stream, kName, epilogue_kernel<T>, blocks(divide_up(Index{groups}, Index{kThreads})),
         kThreads, 0, static_cast<unsigned>(p.k / kVector), groups, epilogue, y);
}

#define DF_INSTANTIATE(T) \
  template void pointwise_epilogue(Stream, const PointwiseProblem&, const Epilogue<T, float>&, T*);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
