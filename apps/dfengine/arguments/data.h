// The options that tell a command where its labelled pictures are.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

#include "engine/data/sets/source.h"

namespace dfengine {

// Adds the rows of data_options(); the fractions get the flag given. Returns those that a resumed
// run cannot change, which is all but the places.
std::vector<CLI::Option*> add_data(CLI::App& command, DataOptions& options,
                                   const char* fractions_flag = "--fractions");
// Adds --label-positive alone.
CLI::Option* add_label_positive(CLI::App& command, DataOptions& options);

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
