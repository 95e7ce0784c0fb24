// Where the paths of a table begin, and how they are read.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace dfengine {

struct TablePaths {
  std::filesystem::path root;
  std::vector<std::string> relative;  // from the root, in the table's order
  std::string rule;                   // text for people
};

// A path written in one form: without "." and "..", and with one slash where there are several.
std::string in_one_form(const std::string& path);

// Paths of a table begin at `wanted` (which may be empty), at the folder of the table `file`, or up
// to two folders below either; failing that they are read as Windows writes them, and without their
// first folders. Some rows all over the table decide: of the folders that hold some of these the
// one that is called like the table's split is taken, where it holds at least half of what any of
// them holds; else the one that holds most. The split is the one that the file's name means, or
// `split`, which may be empty. Throws DataError that names --data where no row's file exists, and
// where several folders hold the same rows, because their pictures would be others.
TablePaths place_paths(std::vector<std::string> paths, const std::filesystem::path& file,
                       const std::filesystem::path& wanted, const std::string& split = "");

}  // namespace dfengine
