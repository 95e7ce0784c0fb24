// Labelled pictures, and the order in which an epoch visits them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/enum_names.h"
#include "kernels/base/shape.h"

namespace dfengine {

// The label is 1 for fake, the positive class, and 0 for real.
struct Sample {
  std::string relative;  // path from Dataset::root, with '/'; or an absolute path
  int label = 0;
  Index record = -1;       // its place in Dataset::pack or Dataset::tars, where there are such
  std::string group = "";  // what a table's group column says
};

class Pack;
class TarShards;

// What becomes of a picture that cannot be read: it is left out and reported, or ends the work.
enum class OnBad { Skip, Fail };
template <>
inline constexpr auto enum_names<OnBad> = names_for<OnBad>("--on-bad", {{"skip", OnBad::Skip},
                                                                        {"fail", OnBad::Fail}});

// A picture that cannot be used.
struct BadFile {
  std::string split;
  std::string relative;  // as in Sample
  std::string reason;
};

struct Dataset {
  std::filesystem::path root;
  std::string split;
  std::vector<Sample> samples;
  // What lay beside the samples and could not be listed.
  std::vector<BadFile> unlisted = {};
  std::shared_ptr<const Pack> pack = nullptr;       // prepared pictures instead of files (pack.h)
  std::shared_ptr<const TarShards> tars = nullptr;  // files inside of tars (tar.h)

  std::filesystem::path path(const Sample& sample) const { return root / sample.relative; }
  Index count(int label) const;
};

// The order in which n samples are visited: 0 .. n-1, or a Fisher-Yates shuffle that depends on
// seed and epoch alone. Throws UsageError for n < 0 or n > 2^32 - 1.
std::vector<std::uint32_t> epoch_order(Index n, std::uint64_t seed, std::uint64_t epoch,
                                       bool shuffle);

// The order of a set: epoch_order, but of pictures in tars, which are read nearly in order. There
// the tars are shuffled, and then the pictures among the next kShuffleBuffer; both depend on seed
// and epoch alone.
inline constexpr std::size_t kShuffleBuffer = 4096;
std::vector<std::uint32_t> epoch_order(const Dataset& dataset, std::uint64_t seed,
                                       std::uint64_t epoch, bool shuffle);

// Whether sample `index` is mirrored in this epoch: a fair coin that depends on these three numbers
// alone.
bool flip_sample(std::uint64_t seed, std::uint64_t epoch, std::uint32_t index);

}  // namespace dfengine
