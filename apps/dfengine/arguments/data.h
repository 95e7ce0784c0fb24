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

// For the command's notes (help.h): which sets these options take.
inline constexpr const char* kDataNotes =
    "Data. --data is a folder with SPLIT/CLASS or CLASS folders, itself or up to two levels down. "
    "Splits are train, valid (or val) and test. Classes are real and fake, 0_real and 1_fake, "
    "nature and ai, or what --classes names. A .dfpack file, made by dfengine pack, will do too. "
    "Instead, --csv names a table with the columns path and label (0 and 1, or names) and perhaps "
    "label_str and split. What label 1 means is read from label_str or the folders, else from "
    "--label-positive; a table that contradicts itself is refused with its first rows. A set "
    "without splits can be divided by shares.\n"
    "Pictures that cannot be read are left out of their batch, listed and counted. More than half "
    "of a split is an error. Orientation tags are applied.";

}  // namespace dfengine
