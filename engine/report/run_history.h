// Finished or interrupted runs, read back from their folders.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/train/checkpoint.h"

namespace dfengine::report {

struct RunHistory {
  std::string name;                                            // of the run's folder
  std::vector<std::pair<std::string, std::string>> arguments;  // args.json, as text
  std::vector<EpochRow> rows;

  // The epoch whose model was kept, or null where there are no epochs.
  const EpochRow* best() const;
};

// Reads args.json and results.csv. Throws DataError naming the file, and the line, that cannot be
// read.
RunHistory read_run(const std::filesystem::path& folder);

// The names of the arguments that are not the same in all runs, in the order of the first run that
// has them.
std::vector<std::string> differing_arguments(const std::vector<RunHistory>& runs);
// The value of an argument, or "" where the run has none of this name.
std::string argument(const RunHistory& run, const std::string& name);

}  // namespace dfengine::report
