// A digest of what a file of tensors says, whatever the order and spelling of its header.
#pragma once

#include <string>

#include "weights/tensor_file.h"

namespace dfengine::weights {

// The metadata entry that holds it, in files that dfengine wrote.
inline constexpr const char* kDigestEntry = "dfengine_digest";

// Of all tensors and of all metadata but that entry, as 16 hexadecimal digits. It finds damage, not
// forgery.
std::string content_digest(const TensorFile& file);

// Takes the entry out of the metadata, and says so in file.has_digest. Throws ModelFileError naming
// the file when the content is not what was written.
void check_digest(TensorFile& file, const std::string& name_for_errors);

}  // namespace dfengine::weights
