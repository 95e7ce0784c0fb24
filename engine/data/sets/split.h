// One set of labelled pictures divided into train, valid and test.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/data/sets/dataset.h"

namespace dfengine {

// For each of n files the number of the first file with the same bytes: itself where there is none
// before it. Files of a size that no other has are not read. One that cannot be read equals no
// other.
std::vector<std::uint32_t> first_copies(
    std::size_t n, const std::function<std::filesystem::path(std::size_t)>& path, int threads);

// The part (a place in `fractions`) of each sample. Samples of one group (groups may be empty:
// none; an empty name is no group) and copies of one file (`copies` as first_copies gives them)
// share a part. Each class is divided by the fractions, which need not add up to one, as near as
// the groups allow. Depends on seed, paths, labels and groups, not on the order of the samples.
std::vector<std::uint8_t> split_samples(std::span<const Sample> samples,
                                        std::span<const std::string> groups,
                                        std::span<const std::uint32_t> copies,
                                        std::span<const double> fractions, std::uint64_t seed);

}  // namespace dfengine
