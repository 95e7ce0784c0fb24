// Pointwise convolution on the GPU: tensor cores for 16-bit types, plain tiles for float.
#include "kernels/pointwise_conv.h"

#include "kernels/base/error.h"
#include "kernels/cuda/ordered_sum.h"
#include "kernels/cuda/pointwise/pointwise_config.h"
#include "kernels/cuda/pointwise/pointwise_float.cuh"
#include "kernels/cuda/pointwise/pointwise_product.cuh"
#include "kernels/cuda/pointwise/pointwise_requirements.h"
#include "kernels/cuda/pointwise/pointwise_weight.cuh"
#include "kernels/cuda/requirements.cuh"

namespace dfengine::cuda {
namespace {

void add_parts(Stream stream, const PointwiseWeightConfig& config, const PointwiseProblem& p,
               const float* scratch, float* dw) {
  if (config.parts > 1) ordered_sum(stream, config.parts, p.k * p.c, config.parts, scratch, dw);
}

}  // namespace

void require_tensor_cores(const PointwiseProblem& p, std::initializer_list<const void*> pointers) {
  constexpr const char* kName = "pointwise convolution";
  constexpr Index kLargest = 0x7FFFFFFF - 256;
  require_vectors(kName, p.c, pointers);
  require_vectors(kName, p.k, {});
  if (p.m > kLargest || p.c > kLargest || p.k > kLargest)
    throw ShapeError("pointwise convolution on the device: " + std::to_string(p.m) + " rows, " +
                     std::to_string(p.c) + " to " + std::to_string(p.k) +
                     " channels: use a smaller batch");
}

void require_parts(Index given, Index made) {
  if (given != made)
    throw Error("pointwise convolution on the device: " + std::to_string(given) +
                " parts for a kernel that makes " + std::to_string(made));
}

template <class T>
void pointwise_forward(Stream stream, const PointwiseConfig& config, const PointwiseProblem& p,
                       const T* x, const T* w, const Epilogue<T, float>& epilogue, T* y,
                       const NormOnLoad& norm) {
  require_tensor_cores(p, {x, w, epilogue.residual, y, norm.scale, norm.shift});
  const Product<T> product = forward_product(p, x, w, epilogue, norm, y);
  with_tile(config.tile, [&](auto tile) {
    multiply<PaddedRing<decltype(tile), false>>(stream, "pointwise_forward", config.blocks,
                                                product);
  });
}

template <class T>
void pointwise_backward_data(Stream stream, const PointwiseConfig& config,
                             const PointwiseProblem& p, const T* dy, const T* w, Write write,
                             T* dx) {
  require_tensor_cores(p, {dy, w, dx});
  const Product<T> product{.a = dy,
                           .b = w,
                           .epilogue = {.residual = write == Write::Accumulate ? dx : nullptr},
                           .y = dx,
                           .rows = static_cast<int>(p.m),
                           .columns = static_cast<int>(p.c),
                           .depth = static_cast<int>(p.k)};
  with_tile(config.tile, [&](auto tile) {
    multiply<PaddedRing<decltype(tile), true>>(stream, "pointwise_backward_data", config.blocks,
                                               product);
  });
}

template <class T>
void pointwise_backward_weight(Stream stream, const PointwiseWeightConfig& config,
                               const PointwiseProblem& p, const T* x, const T* dy, float* scratch,
                               float* dw, const NormOnLoad& norm) {
  require_tensor_cores(p, {x, dy, norm.scale, norm.shift});
  multiply_weight(stream, config, p, x, dy, config.parts == 1 ? dw : scratch, norm);
  add_parts(stream, config, p, scratch, dw);
}

template <class T>
void pointwise_forward(Stream stream, const PointwiseProblem& p, const T* x, const T* w,
                       const Epilogue<T, float>& epilogue, T* y, const NormOnLoad& norm) {
  if constexpr (std::is_same_v<T, float>) {
    multiply_floats(stream, "pointwise_forward",
                    {.a = x,
                     .a_row = p.c,
                     .a_depth = 1,
                     .b = w,
                     .b_depth = 1,
                     .b_column = p.c,
                     .epilogue = epilogue,
                     .y = y,
                     .rows = p.m,
                     .columns = p.k,
                     .depth = p.c,
                     .depth_per_part = p.c,
                     .a_norm = norm},
                    1);
  } else {
    pointwise_forward(stream, choose_config(p.m, p.k, p.c), p, x, w, epilogue, y, norm);
  }
}

template <class T>
void pointwise_backward_data(Stream stream, const PointwiseProblem& p, const T* dy, const T* w,
                             Write write, T* dx) {
  if constexpr (std::is_same_v<T, float>) {
    multiply_floats(stream, "pointwise_backward_data",
                    {.a = dy,
                     .a_row = p.k,
                     .a_depth = 1,
                     .b = w,
                     .b_depth = p.c,
                     .b_column = 1,
                     .epilogue = {.residual = write == Write::Accumulate ? dx : nullptr},
                     .y = dx,
                     .rows = p.m,
                     .columns = p.c,
                     .depth = p.k,
                     .depth_per_part = p.k},
                    1);
  } else {
    pointwise_backward_data(stream, choose_config(p.m, p.c, p.k), p, dy, w, write, dx);
  }
}

Index pointwise_weight_scratch(const PointwiseProblem& p) {
  return choose_weight_config(p).scratch(p);
}

template <class T>
void pointwise_backward_weight(Stream stream, const PointwiseProblem& p, const T* x, const T* dy,
                               float* scratch, float* dw, const NormOnLoad& norm) {
  const PointwiseWeightConfig config = choose_weight_config(p);
  if constexpr (std::is_same_v<T, float>) {
    multiply_floats(stream, "pointwise_backward_weight",
                    {.a = dy,
                     .a_row = 1,
                     .a_depth = p.k,
                     .b = x,
                     .b_depth = p.c,
                     .b_column = 1,
                     .y = config.parts == 1 ? dw : scratch,
                     .rows = p.k,
                     .columns = p.c,
                     .depth = p.m,
                     .depth_per_part = config.rows_per_part,
                     .b_norm = norm},
                    config.parts);
    add_parts(stream, config, p, scratch, dw);
  } else {
    pointwise_backward_weight(stream, config, p, x, dy, scratch, dw, norm);
  }
}

#define DF_INSTANTIATE(T)                                                                      \
  template void pointwise_forward(Stream, const PointwiseProblem&, const T*, const T*,         \
                                  const Epilogue<T, float>&, T*, const NormOnLoad&);           \
  template void pointwise_backward_data(Stream, const PointwiseProblem&, const T*, const T*,   \
                                        Write, T*);                                            \
  template void pointwise_backward_weight(Stream, const PointwiseProblem&, const T*, const T*, \
                                          float*, float*, const NormOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
DF_INSTANTIATE(float)
#undef DF_INSTANTIATE

#define DF_INSTANTIATE(T)                                                                        \
  template void pointwise_forward(Stream, const PointwiseConfig&, const PointwiseProblem&,       \
                                  const T*, const T*, const Epilogue<T, float>&, T*,             \
                                  const NormOnLoad&);                                            \
  template void pointwise_backward_data(Stream, const PointwiseConfig&, const PointwiseProblem&, \
                                        const T*, const T*, Write, T*);                          \
  template void pointwise_backward_weight(Stream, const PointwiseWeightConfig&,                  \
                                          const PointwiseProblem&, const T*, const T*, float*,   \
                                          float*, const NormOnLoad&);
DF_INSTANTIATE(Half)
DF_INSTANTIATE(BFloat16)
#undef DF_INSTANTIATE

}  // namespace dfengine::cuda
