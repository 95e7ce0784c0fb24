// dfengine's own data set: procedural faces, half of them with the trace of a generator.
//
// Method. Picture i of a seed is one scene: a random sitter, backdrop and light (face.h), then a
// camera: a slight blur, shot and read noise. Nothing so far depends on the class. A real picture
// is that photograph. A fake one is that photograph passed through an imperfect decoder
// (upsample.h): half-size feature maps brought back by zero insertion and 4x4 kernels with slightly
// uneven taps, twice nested. This leaves what real GAN decoders leave: a faint checkerboard (Odena,
// Dumoulin and Olah 2016), peaks at and near the Nyquist frequency (Frank et al. 2020) and too
// little energy in the fine bands (Durall, Keuper and Keuper 2020). Mean and variance of each
// channel are then put back to the photograph's, and both classes share the scenes, the noise and
// the JPEG qualities, so colour and brightness statistics tell nothing: only the pixel grid does.
//
// Draw the pictures at the size they are trained on: resizing wipes the trace out.
//
// Repeatable. A picture depends on seed, number, size and class alone (Philox, stream Synth, sub =
// picture number), not on count or threads. The arithmetic uses +, -, *, / and sqrt only, without
// fused multiply-add (CMakeLists.txt).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

enum class SynthClass { Real, Fake };

// Gives picture `number` as a JPEG file. Its quality, 90 to 96, is drawn from the seed whatever the
// class. Throws UsageError unless size is a multiple of 4 from 32 to 1024.
std::vector<std::uint8_t> draw_synth_jpeg(std::uint64_t seed, std::uint64_t number, Index size,
                                          SynthClass kind);

struct SynthOptions {
  std::filesystem::path output;
  Index count = 2000;  // 20 to 1,000,000; the split is exact for multiples of 20
  std::uint64_t seed = 0;
  Index size = 96;  // side in pixels, a multiple of 4, 32 to 1024
};

// Is called after every picture.
using SynthProgress = std::function<void(Index done, Index count)>;

// Writes output/{train,valid,test}/{real,fake}/NNNNN.jpg. Picture NNNNN is real when even, fake
// when odd; of every ten pairs eight go to train, one to valid and one to test. Throws UsageError
// for options out of range or when output already holds train, valid or test, Error naming the
// path when something cannot be written: what was written before is then removed.
void write_synth_set(const SynthOptions& options, const SynthProgress& progress = {});

}  // namespace dfengine
