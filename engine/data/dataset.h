// Folders of labelled pictures, and the order in which an epoch visits them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/shape.h"

namespace dfengine {

// label 1 = fake (the positive class), 0 = real.
struct Sample {
  std::string relative;  // to Dataset::root, with '/'; or absolute
  int label = 0;
};

struct Dataset {
  std::filesystem::path root;
  std::string split;
  std::vector<Sample> samples;

  std::filesystem::path path(const Sample& sample) const { return root / sample.relative; }
  Index count(int label) const;
};

// By its extension: jpg, jpeg, png or bmp in any case.
bool is_picture(const std::filesystem::path& file);

// Pictures (jpg jpeg png bmp, any case) under dir/split/real and dir/split/fake, at any depth,
// sorted by relative path so that the order never depends on the file system. "valid" also finds
// the folder "val", and "val" the folder "valid". Throws DataError, which names what is missing
// and what was found, where a folder is absent or a class holds no picture.
Dataset scan_split(const std::filesystem::path& dir, std::string_view split);

// The visiting order of n samples: 0 .. n-1, or a Fisher-Yates shuffle that depends on seed and
// epoch alone. Throws UsageError for n < 0 or n > 2^32 - 1.
std::vector<std::uint32_t> epoch_order(Index n, std::uint64_t seed, std::uint64_t epoch,
                                       bool shuffle);

// Whether sample `index` is mirrored in this epoch: a fair coin of these three numbers alone.
bool flip_sample(std::uint64_t seed, std::uint64_t epoch, std::uint32_t index);

}  // namespace dfengine
