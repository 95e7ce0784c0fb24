// Labelled pictures in tars, named as WebDataset does: the files of a sample share a key, which is
// all of their path up to the first dot of the name.
#pragma once

#include <string>
#include <vector>

#include "engine/data/sets/csv_source.h"
#include "engine/data/tar.h"

namespace dfengine {

// Whether this names tars: FILE.tar, or a pattern such as shards/{train,valid}-{000..063}.tar.
bool names_tars(const std::filesystem::path& data);
// Whether the folder itself holds tars, and no pictures beside them.
bool holds_tars(const std::filesystem::path& folder);

// Its entries that are pictures, as in a folder (is_picture). Counts in passed_over what is neither
// a picture nor a note (.cls, .json). Throws DataError where the tar cannot be read.
std::vector<std::size_t> pictures_in(const TarFile& tar, PassedOver& passed_over);

// The pictures of all the tars, or of those in a folder by their names, in their order. A sample's
// class is what its .cls file says, or the key label, class or cls of its .json: a name, 0 or 1
// (read as table_labels does). Its split is the key split, else what the tar's name says
// (train-000.tar). Throws DataError for a tar that cannot be read, for samples without a class, and
// where some have a split and others none.
TableSource read_tar_source(const std::filesystem::path& data, const TableOptions& options);

}  // namespace dfengine
