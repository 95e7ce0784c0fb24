#include "engine/data/dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "kernels/error.h"
#include "kernels/random.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

constexpr std::array kClasses = {"real", "fake"};  // by label
constexpr std::array kExtensions = {".jpg", ".jpeg", ".png", ".bmp"};

// "found: a, b, c", for errors.
std::string contents(const fs::path& dir) {
  constexpr std::size_t kMost = 12;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir)) {
    names.push_back(entry.path().filename().string() + (entry.is_directory() ? "/" : ""));
  }
  if (names.empty()) return "found: nothing";
  std::sort(names.begin(), names.end());
  if (names.size() <= kMost) return fmt::format("found: {}", fmt::join(names, ", "));
  const std::size_t more = names.size() - kMost;
  names.resize(kMost);
  return fmt::format("found: {} and {} more", fmt::join(names, ", "), more);
}

fs::path find_split(const fs::path& dir, const std::string& split) {
  if (!fs::is_directory(dir)) {
    throw DataError(fmt::format("data folder {} {}", dir.string(),
                                fs::exists(dir) ? "is not a folder" : "does not exist"));
  }
  std::vector<std::string> names = {split};
  if (split == "valid") names.push_back("val");
  if (split == "val") names.push_back("valid");
  for (const std::string& name : names) {
    if (fs::is_directory(dir / name)) return dir / name;
  }
  throw DataError(fmt::format("{} has no folder {}/; {}", dir.string(), fmt::join(names, "/ or "),
                              contents(dir)));
}

void add_class(const fs::path& split, int label, Dataset& dataset) {
  const fs::path folder = split / kClasses[static_cast<std::size_t>(label)];
  if (!fs::is_directory(folder)) {
    throw DataError(fmt::format("{} has no folder {}/ (it needs real/ and fake/); {}",
                                split.string(), kClasses[static_cast<std::size_t>(label)],
                                contents(split)));
  }
  const std::size_t before = dataset.samples.size();
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!is_picture(entry.path()) || !entry.is_regular_file()) continue;
    dataset.samples.push_back(
        {entry.path().lexically_relative(dataset.root).generic_string(), label});
  }
  if (dataset.samples.size() == before) {
    throw DataError(fmt::format("{} holds no picture (jpg jpeg png bmp); {}", folder.string(),
                                contents(folder)));
  }
}

}  // namespace

bool is_picture(const fs::path& file) {
  std::string extension = file.extension().string();
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

Index Dataset::count(int label) const {
  return std::count_if(samples.begin(), samples.end(),
                       [label](const Sample& s) { return s.label == label; });
}

Dataset scan_split(const fs::path& dir, std::string_view split) {
  Dataset dataset{dir, std::string(split), {}};
  try {
    const fs::path folder = find_split(dir, dataset.split);
    for (int label : {0, 1}) add_class(folder, label, dataset);
  } catch (const fs::filesystem_error& e) {
    throw DataError(fmt::format("cannot list {}: {}", e.path1().string(), e.code().message()));
  }
  std::sort(dataset.samples.begin(), dataset.samples.end(),
            [](const Sample& a, const Sample& b) { return a.relative < b.relative; });
  return dataset;
}

std::vector<std::uint32_t> epoch_order(Index n, std::uint64_t seed, std::uint64_t epoch,
                                       bool shuffle) {
  if (n < 0 || n > std::numeric_limits<std::uint32_t>::max()) {
    throw UsageError(fmt::format("cannot order {} samples", n));
  }
  std::vector<std::uint32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0u);
  if (!shuffle) return order;
  Random random(seed, RandomStream::Shuffle, epoch);
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  }
  return order;
}

bool flip_sample(std::uint64_t seed, std::uint64_t epoch, std::uint32_t index) {
  return (philox(seed, RandomStream::Flip, epoch, index)[0] & 1u) != 0;
}

}  // namespace dfengine
