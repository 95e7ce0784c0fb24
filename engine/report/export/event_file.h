// Event files, which TensorBoard reads: scalars by step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace dfengine::report {

struct Scalar {
  std::string tag;
  double value = 0;
};

// A new file in the folder, beside those of earlier starts, which TensorBoard reads as one run.
// Each step is on its way to the disk when add() returns; a process that is killed leaves a whole
// file, but for its last record.
class EventFile {
 public:
  // Throws Error where the file cannot be made.
  explicit EventFile(const std::filesystem::path& folder);
  // seconds: since 1970. Throws Error where it cannot be written.
  void add(std::int64_t step, double seconds, std::span<const Scalar> scalars);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& event);

  std::filesystem::path path_;
  std::ofstream stream_;
};

// The checksum of TFRecord files: CRC-32C (Castagnoli), here without their mask.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace dfengine::report
