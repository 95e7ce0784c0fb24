#include "engine/train/folds.h"

#include <fmt/format.h>

#include "engine/data/sets/csv.h"
#include "engine/data/sets/split.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "weights/read_file.h"

namespace dfengine {
namespace {

// parts: half folds, two for each.
const char* split_of(int part, int fold, int folds) {
  if (part / 2 == fold) return "test";
  return part == 2 * ((fold + 1) % folds) ? "valid" : "train";
}

}  // namespace

std::vector<std::filesystem::path> write_folds(const DataOptions& data, int folds,
                                               const std::filesystem::path& folder, int threads) {
  constexpr int kMost = 20;
  if (folds < 2 || folds > kMost)
    throw UsageError(fmt::format("--folds {}: from 2 to {}", folds, kMost));
  DataOptions whole = data;
  whole.fractions.clear();
  std::vector<Sample> samples;
  for (const Dataset& split : open_data(whole, {}).splits) {
    if (split.tars) throw UsageError("--folds divides files, not tars: unpack them");
    for (Sample sample : split.samples) {
      sample.relative = std::filesystem::absolute(split.path(sample)).string();
      samples.push_back(std::move(sample));
    }
  }
  const auto path = [&](std::size_t i) { return std::filesystem::path(samples[i].relative); };
  const std::vector<std::uint32_t> copies = first_copies(samples.size(), path, threads);
  const std::vector<double> equal(at(2 * folds), 1.0);
  const std::vector<std::uint8_t> parts = split_samples(samples, {}, copies, equal, 0);
  make_folder(folder);
  std::vector<std::filesystem::path> tables;
  for (int fold = 0; fold < folds; ++fold) {
    std::string text = "path,label,split\n";
    for (std::size_t i = 0; i < samples.size(); ++i)
      text += fmt::format("{},{},{}\n", csv_path(samples[i].relative),
                          samples[i].label == 1 ? "fake" : "real", split_of(parts[i], fold, folds));
    const std::filesystem::path file = folder / fmt::format("{}.csv", fold + 1);
    std::error_code error;
    if (std::filesystem::exists(file, error)) {
      if (weights::read_text(file) != text)
        throw UsageError(file.string() +
                         " divides other pictures, or in another way: name another --output");
    } else {
      write_text(file, text);
    }
    tables.push_back(file);
  }
  return tables;
}

}  // namespace dfengine
