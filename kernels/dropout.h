// Inverted dropout: y = x * keep / (1 - rate), keep drawn from (seed, step, element index).
// The mask is not stored: backward draws the same numbers again.
// Aliasing: y may be x, dx may be dy.
#pragma once

#include <cstdint>

#include "kernels/cpu/context.h"
#include "kernels/shape.h"

namespace dfengine::cpu {

// keep element i when uniform(seed, RandomStream::Dropout, step, i) >= rate; 0 <= rate < 1.
template <class T>
void dropout_forward(const Context& ctx, Index count, double rate, std::uint64_t seed,
                     std::uint64_t step, const T* x, T* y);

template <class T>
void dropout_backward(const Context& ctx, Index count, double rate, std::uint64_t seed,
                      std::uint64_t step, const T* dy, Write write, T* dx);

}  // namespace dfengine::cpu
