// The options by which every command is told its labelled pictures.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

#include "engine/data/sets/source.h"

namespace dfengine {

// --data, --csv, --valid-csv, --test-csv.
void add_data_places(CLI::App& command, DataOptions& options);

// --classes, --label-positive, --group-column, --on-bad, and the fractions of train, valid and test
// under the name given. The seed is the command's own option.
std::vector<CLI::Option*> add_data_settings(CLI::App& command, DataOptions& options,
                                            const char* fractions_name);

}  // namespace dfengine
