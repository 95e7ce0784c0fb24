#include "engine/train/picture_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/data/digest.h"
#include "kernels/base/error.h"
#include "kernels/base/memory.h"

namespace dfengine {
namespace {

constexpr const char* kCacheFile = "cache.dfpack";

bool is_packed(const std::vector<Dataset>& splits) {
  return std::ranges::any_of(splits, [](const Dataset& d) { return d.pack != nullptr; });
}

bool is_current(const std::filesystem::path& file, const std::vector<Dataset>& splits,
                const Preparation& how) try {
  const Pack pack(file);
  const Preparation& has = pack.index().how;
  return has.size == how.size && has.crop == how.crop && has.resize == how.resize &&
         has.max_pixels == how.max_pixels && pack.index().digest == source_digest(splits) &&
         !can_be_completed(pack, splits);
} catch (const DataError&) {
  return false;  // not there, or damaged: it is made anew
}

}  // namespace

std::uint64_t memory_cache_bytes(CacheMode mode) {
  switch (mode) {
    case CacheMode::Ram:
      return std::numeric_limits<std::uint64_t>::max();
    case CacheMode::Disk:
      return 0;
    case CacheMode::Auto:
      break;
  }
  return static_cast<std::uint64_t>(available_bytes()) / 10 * 4;
}

std::string describe_cache(const TrainOptions& options, const std::vector<Dataset>& splits,
                           const Preparation& how) {
  if (is_packed(splits)) return "packed pictures, no cache";
  if (how.crop == Crop::Random)
    return "cache: validation pictures alone, as each epoch cuts new windows";
  const std::uintmax_t mib = pack_file_bytes(splits, how) >> 20;
  if (options.cache == CacheMode::Disk) {
    return fmt::format("cache: {} ({} MiB)", (options.output / kCacheFile).string(), mib);
  }
  const std::uint64_t most = memory_cache_bytes(options.cache);
  const auto picture = static_cast<std::uint64_t>(how.size * how.size * 3);
  const bool fits = std::ranges::all_of(
      splits, [&](const Dataset& d) { return d.samples.size() * picture <= most; });
  return fits ? fmt::format("cache: memory ({} MiB)", mib)
              : fmt::format(
                    "cache: none or in part ({} MiB for all; --cache disk keeps them in a file)",
                    mib);
}

void check_disk_cache(const TrainOptions& options, const Model& model) {
  if (model.crop == Crop::Random || options.img_size != model.config.input_size)
    throw UsageError(
        "--cache disk keeps one square of each picture: not with --crop random, which cuts new "
        "ones, nor with an --eval-size of its own");
}

bool cache_on_disk(const std::filesystem::path& folder, std::vector<Dataset>& splits,
                   const Preparation& how, ThreadPool& pool,
                   const std::function<bool(Index done, Index total)>& go_on) {
  if (is_packed(splits)) return true;
  const std::filesystem::path file = folder / kCacheFile;
  if (!is_current(file, splits, how) && !write_pack(file, splits, how, pool, go_on).finished) {
    return false;
  }
  const auto pack = std::make_shared<const Pack>(file);
  Index record = 0;
  for (Dataset& split : splits) {
    split.pack = pack;
    for (Sample& sample : split.samples) sample.record = record++;
  }
  return true;
}

}  // namespace dfengine
