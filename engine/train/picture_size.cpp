#include "engine/train/picture_size.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/data/pack.h"
#include "engine/data/pictures/file_properties.h"

namespace dfengine {
namespace {

constexpr Index kNearest = 192, kFarthest = 320, kMultiple = 32;

// Of a square picture, 0 of another.
Index side_of(const Dataset& pictures, const Sample& sample) {
  if (pictures.tars) {
    Preparer preparer({});
    try {
      const Image& image = decode_sample(pictures, sample, preparer);
      return image.h == image.w ? image.h : 0;
    } catch (const DataError&) {
      return 0;
    }
  }
  const FileProperties properties = read_file_properties(pictures.path(sample));
  return properties.h == properties.w ? properties.h : 0;
}

bool is_near(Index side) {
  return side % kMultiple == 0 && side >= kNearest && side <= kFarthest;
}

}  // namespace

bool asks_for_native_side(const TrainOptions& o) {
  return o.img_size == 0 && o.eval_size == 0 && !o.resize && !o.crop;
}

std::optional<Index> native_side(const Dataset& pictures) {
  // A few may differ, or be damaged.
  constexpr Index kSamples = 50, kOthers = 2;
  const Index n = std::ssize(pictures.samples), samples = std::min(n, kSamples);
  if (n == 0) return std::nullopt;
  if (pictures.pack) {
    const Preparation& how = pictures.pack->index().how;
    return is_near(how.size) && how.crop == Crop::None ? std::optional(how.size) : std::nullopt;
  }
  std::vector<Index> sides;
  for (Index i = 0; i < samples; ++i)
    sides.push_back(side_of(pictures, pictures.samples[at(i * n / samples)]));
  std::ranges::sort(sides);
  const Index side = sides[at(samples / 2)];
  const bool agree = std::ranges::count(sides, side) >= samples - std::min(kOthers, samples / 10);
  return agree && is_near(side) ? std::optional(side) : std::nullopt;
}

std::string describe_size(const TrainOptions& o, const Network& network,
                          std::optional<Index> native) {
  std::string text;
  if (native)
    text += fmt::format(
        "pictures are {0} x {0} pixels and are taken so, without resampling; --img-size names "
        "another size\n",
        *native);
  if (o.eval_size != 0 && o.eval_size != o.img_size)
    text += fmt::format("training sees {0} x {0} pixels, the finished model {1} x {1}\n",
                        o.img_size, o.eval_size);
  if (o.stem_stride != 1) return text;
  Spec image = network.image;
  image.shape.h = image.shape.w = o.img_size;
  constexpr double kMillion = 1e6;
  return text + fmt::format(
                    "stem stride 1: {:.0f} million multiply-adds for a picture, about four "
                    "times those of stride 2, and four times the memory\n",
                    static_cast<double>(multiply_adds(network.graph, image)) / kMillion);
}

}  // namespace dfengine
