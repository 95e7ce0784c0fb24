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
// Adds --classes, --label-positive, --path-column and --label-column alone.
void add_table_columns(CLI::App& command, DataOptions& options);

// For the command's notes (help.h): which sets these options take.
inline constexpr const char* kDataNotes =
    "Data. --data is a folder with SPLIT/CLASS or CLASS folders, itself or up to two levels down, "
    "with folders of categories between them or without. Splits are train, valid and test, classes "
    "real and fake, in any case and usual spelling (Training, val, 0_real, training_fake, nature "
    "and "
    "ai); --classes names others. A .dfpack file, made by dfengine pack, will do too, with splits, "
    "classes and labels of its own, and so will tars: FILE.tar, 'shards/{000..063}.tar', "
    "'{train,valid}-{000..063}.tar', or a folder of tars alone. In a tar each picture has its "
    "class "
    "beside it as WebDataset names it: 0001.jpg and 0001.cls, or the key label of 0001.json; a key "
    "split, or the tar's name (train-000.tar), may say the split. Training then shuffles tars, and "
    "pictures among the next 4,096. Instead, --csv names a table, separated by commas, semicolons "
    "or tabs, with the columns path and label (0 and 1, True and False, or names), or others of "
    "usual names, and perhaps label_str and split. What label 1 means is read from label_str, the "
    "column's name (is_fake) or the folders, else from --label-positive; a table that contradicts "
    "itself, or gives one picture two labels or splits, is refused with its first rows, and so are "
    "tables of several splits that name the same pictures. A set without splits can be divided by "
    "shares, and what a set with train lacks can be taken from it. Options that the kind of set "
    "at hand ignores are refused.\n"
    "Pictures are JPEG, PNG, WebP and BMP, by their first bytes and not by their names. Hidden "
    "files "
    "and what systems and editors leave behind are passed over, as are files of other kinds; how "
    "many is said in one line. Pictures that cannot be read are left out of their batch, listed "
    "and "
    "counted. More than half of a split is an error. Orientation tags are applied.";

}  // namespace dfengine
