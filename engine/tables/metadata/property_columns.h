// What a picture's file shows before a pixel is decoded, as columns of a table.
#pragma once

#include <filesystem>
#include <string>

#include "engine/data/sets/csv.h"

namespace dfengine {

// Appends columns, read from the file that column "path" names under root, and not from its pixels:
//   file:bytes                size of the file
//   file:width, file:height   in pixels
//   file:quantisation         sum of the luma quantisation table: the coarser, the greater
//   file:subsampling          of chroma, across and down, such as 2x2
//   file:exif                 1 where there is an EXIF block, else 0
// Quantisation and subsampling are empty where the file is no JPEG, and all but the first where its
// header is not found or it is no JPEG, PNG, WebP or BMP. Throws DataError naming a file that
// cannot be read or holds nothing, and DataError naming `name` where column "path" is absent or one
// of these is there already.
void append_file_properties(CsvTable& table, const std::filesystem::path& root,
                            const std::string& name);

}  // namespace dfengine
