#include "engine/data/sets/bad_files.h"

#include <fmt/format.h>

#include "engine/data/sets/csv.h"
#include "kernels/base/error.h"

namespace dfengine {

BadFiles::BadFiles(std::vector<BadFile> known) {
  for (BadFile& file : known) note(std::move(file));
}

void BadFiles::note(BadFile file) {
  if (known_.emplace(file.split, file.relative).second) list_.push_back(std::move(file));
}

void BadFiles::add_unlisted(const Dataset& dataset) {
  for (const BadFile& file : dataset.unlisted) note(file);
}

void BadFiles::add(const Dataset& dataset, std::uint32_t index, const std::string& reason) {
  const Sample& sample = dataset.samples[index];
  note({dataset.split, sample.relative, reason});
  const auto [at, is_new] = tallies_.try_emplace(dataset.split);
  Tally& tally = at->second;
  if (is_new) tally.total = {dataset.count(0), dataset.count(1)};
  if (!tally.bad.insert(index).second) return;
  const auto label = static_cast<std::size_t>(sample.label);
  ++tally.bad_count[label];
  const Index bad = tally.bad_count[0] + tally.bad_count[1];
  const Index total = tally.total[0] + tally.total[1];
  if (2 * bad <= total && tally.bad_count[label] < tally.total[label]) return;
  throw DataError(fmt::format("{}: {} of {} pictures cannot be read ({} of {} {}); the last: {}",
                              dataset.split, bad, total, tally.bad_count[label], tally.total[label],
                              label == 1 ? "fake" : "real", reason));
}

std::string BadFiles::csv() const {
  std::string text = "split,path,reason\n";
  for (const BadFile& file : list_)
    text += fmt::format("{},{},{}\n", csv_text(file.split), csv_path(file.relative),
                        csv_text(file.reason));
  return text;
}

}  // namespace dfengine
