// Divides one set of labelled pictures into train, valid and test, and keeps those apart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/data/sets/dataset.h"

namespace dfengine {

// Gives for each of n files the number of the first file with the same bytes, which is its own
// number where there is none before it. Files of a size that no other has are not read. A file that
// cannot be read equals no other.
std::vector<std::uint32_t> first_copies(
    std::size_t n, const std::function<std::filesystem::path(std::size_t)>& path, int threads);
// The same of a set's pictures, which may lie in tars.
std::vector<std::uint32_t> first_copies(const Dataset& dataset, int threads);

// Gives the part of each sample, which is a place in `fractions`. Samples of one group and copies
// of one file share a part. `groups` may be empty, and an empty name is no group; `copies` are as
// first_copies gives them. Each class is divided by the fractions, which need not add up to one, as
// near as the groups allow. The result depends on seed, paths, labels and groups, not on the order
// of the samples.
std::vector<std::uint8_t> split_samples(std::span<const Sample> samples,
                                        std::span<const std::string> groups,
                                        std::span<const std::uint32_t> copies,
                                        std::span<const double> fractions, std::uint64_t seed);

// Pictures that are kept apart from others.
struct ApartPictures {
  std::string name;  // for messages
  std::vector<std::filesystem::path> paths;
};

// Throws UsageError, with the number and the first of them, where two parts name the same pictures:
// figures on pictures that training saw, or that chose a threshold, are better than on others. A
// path that leads to no file is nobody's picture.
void require_apart(std::span<const ApartPictures> parts);

}  // namespace dfengine
