// What a file or folder is that holds no weights we read, in words for its error.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace dfengine::weights {

// Continues "FILE: ": "is a Git LFS pointer ...; git lfs pull fetches it". For content of no known
// kind it lists the formats that are read.
std::string describe_foreign(std::span<const std::byte> content);

// The same of a zip archive that is none of PyTorch's or Keras', by the names in it.
std::string describe_foreign_zip(const std::vector<std::string>& names);

// The same of a folder: what it would be, and which file in it to name.
std::string describe_foreign_folder(const std::filesystem::path& folder);

}  // namespace dfengine::weights
