// An inverted residual block (Sandler et al., "MobileNetV2", 2018) in inference form as one kernel:
//   e = act1(x w1^T + b1)               [N, H, W, wide], rounded to T
//   d = act2(depthwise 3x3 of e + b2)   [N, P, Q, wide], rounded to T
//   y = d w3^T + b3, and + x if residual [N, P, Q, out]
// e and d stay on the chip: for most blocks they are six times what the block reads and writes.
// The first block has no expansion of its own; there e is the stem's result, and x the pixels.
//
// Aliasing     y must not overlap anything else.
// Determinism  The bits are the same in every run.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/cuda/context.h"
#include "kernels/cuda/stream.h"
#include "kernels/depthwise_conv.h"
#include "kernels/pixel_input.h"

namespace dfengine {

struct InvertedResidualProblem {
  DepthwiseProblem depthwise = {};  // of e: n, h, w, wide channels, stride, padding
  Index in = 0, out = 0;            // channels of x and y
  Activation expanded = Activation::Relu6, filtered = Activation::Relu6;  // act1 and act2
  bool residual = false;
  // The stem in place of the expansion, whose weights are given as those of kDepth channels; in is
  // that.
  std::optional<PixelInput> pixels = {};

  constexpr Shape input() const { return {depthwise.n, depthwise.h, depthwise.w, in}; }
  constexpr Shape output() const { return {depthwise.n, depthwise.p, depthwise.q, out}; }
};

// Matrices in T, biases in float, all in host memory.
template <class T>
struct InvertedResidualWeights {
  std::span<const T> expand;              // [wide, in]
  std::span<const float> expand_bias;     // [wide]
  std::span<const T> depthwise;           // [3, 3, wide]
  std::span<const float> depthwise_bias;  // [wide]
  std::span<const T> project;             // [out, wide]
  std::span<const float> project_bias;    // [out]
};

// T is Half or BFloat16; sums are in float.
namespace cuda {

// How many warps a block has, each of which makes rows of a tile of y, and how many blocks share a
// tile's expanded channels. Where there are several they are a cluster, which needs has_clusters(),
// or a second kernel adds their sums, in the same order.
struct InvertedResidualConfig {
  int warps = 0;
  int splits = 1;
  bool cluster = false;
  bool operator==(const InvertedResidualConfig&) const = default;
  // Bytes of scratch.
  constexpr Index scratch(const InvertedResidualProblem& p) const {
    return splits == 1 || cluster ? 0 : splits * p.output().count() * kFloatBytes;
  }
};

// The rule's choice, then every other whose blocks need at most so many bytes of shared memory;
// empty where there is no kernel for the problem: channels are multiples of 8; at stride 1 at most
// 160 in and 320 out, at stride 2 96 in and 160 out; both activations are ReLUs; a residual needs
// stride 1 and in = out. With pixels: a stem of stride 2, stride 1 and at most 32 channels out.
// Tiles are shared where there are too few for a large GPU, in clusters where the device has them.
std::vector<InvertedResidualConfig> inverted_residual_configs(
    const InvertedResidualProblem& p, std::size_t limit = shared_memory_limit());

// Whether by rule one kernel is faster than three: its blocks keep a large GPU busy.
bool inverted_residual_pays(const InvertedResidualProblem& p);

// The weights as the kernel reads them, a multiple of 16 bytes, in host memory. Throws ShapeError
// where there is no kernel for the problem.
Index inverted_residual_weight_bytes(const InvertedResidualProblem& p);
template <class T>
void pack_inverted_residual_weights(const InvertedResidualProblem& p,
                                    const InvertedResidualWeights<T>& weights, void* packed);

// x: of T, or uint8 pixels. weights: what was packed, on the device. Throws Error where there are
// more splits than chunks of channels or than a cluster can have, or with pixels.
template <class T>
void inverted_residual(Stream stream, const InvertedResidualConfig& config,
                       const InvertedResidualProblem& p, const void* x, const void* weights,
                       void* scratch, T* y);

}  // namespace cuda
}  // namespace dfengine
