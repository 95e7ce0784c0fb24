// Writing a file so that a kill or a full disk leaves either the old file or the new one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace dfengine {

// Writes "NAME.tmp-PID-N" in the target's folder, syncs it, renames it over the target and syncs
// the folder. Throws Error with the path, the failed step and the system's reason; the target is
// then as it was and the temporary file is gone. Two exceptions: if syncing the folder is what
// failed, the new file stands but may not survive a power cut; and a killed process leaves its
// temporary file (remove_temporaries). A symbolic link at the target is replaced, not followed.
void write_file_atomic(const std::filesystem::path& path, std::span<const std::byte> bytes);
// The same for text.
void write_text(const std::filesystem::path& path, const std::string& text);

// Removes the temporary files that killed processes left beside `path`. No other process may be
// writing that file meanwhile. What cannot be removed stays.
void remove_temporaries(const std::filesystem::path& path);

}  // namespace dfengine
