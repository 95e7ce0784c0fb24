// Finished or interrupted runs, read back from their folders.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/train/checkpoint.h"

namespace dfengine::report {

struct RunHistory {
  std::string name;                                            // of its folder
  std::vector<std::pair<std::string, std::string>> arguments;  // args.json, as text
  std::vector<EpochRow> rows;

  // The epoch whose model was kept; null without epochs.
  const EpochRow* best() const;
};

// From args.json and results.csv. Throws DataError naming the file, and the line, that cannot be
// read.
RunHistory read_run(const std::filesystem::path& folder);

// Arguments that are not the same in all runs: their names, in the order of the first run that has
// them.
std::vector<std::string> differing_arguments(const std::vector<RunHistory>& runs);
// "" where the run has none of that name.
std::string argument(const RunHistory& run, const std::string& name);

}  // namespace dfengine::report
