// The options that tell a command where its labelled pictures are.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

#include "engine/data/sets/source.h"

namespace dfengine {

// Adds --data, --csv, --valid-csv and --test-csv.
void add_data_places(CLI::App& command, DataOptions& options);

// Adds --classes, --label-positive, --group-column, --on-bad, and the fractions of train, valid and
// test under the given name. The seed is the command's own option.
std::vector<CLI::Option*> add_data_settings(CLI::App& command, DataOptions& options,
                                            const char* fractions_name);

}  // namespace dfengine
