// Any number of pictures without labels, taken up a part at a time.
#pragma once

#include <deque>
#include <filesystem>
#include <fstream>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/sets/dataset.h"
#include "engine/data/sets/listing.h"

namespace dfengine {

// One tar, one packed file, or up to kMost picture files.
struct InputShard {
  static constexpr std::size_t kMost = 10000;

  Index number = 0;  // from 0 on
  std::vector<std::filesystem::path> files = {};
  std::filesystem::path container = {};
  double share = 0;  // of all input up to its end, from 0 to 1 about; 0 where nobody can say
  // The reader's, to which opening a tar adds; nothing where nobody counts.
  std::shared_ptr<PassedOver> passed_over = nullptr;

  // Text for people and for files.
  std::string describe() const;
};

// Goes through pictures, folders of them, tars (also as {000..063}) and packed files, in the order
// given; of a folder in the order of its paths. It keeps no more than a shard.
class InputReader {
 public:
  explicit InputReader(const std::vector<std::filesystem::path>& paths);
  // A file with a path a line, or "-" for standard input. Throws DataError where there is none.
  explicit InputReader(const std::filesystem::path& list);

  // Nothing after the last shard. Throws DataError where the list cannot be read.
  std::optional<InputShard> next();
  // In the folders so far, and in the tars that were opened.
  const PassedOver& passed_over() const { return *passed_over_; }

 private:
  std::optional<std::filesystem::path> next_path();
  std::optional<std::filesystem::path> next_name();
  void take(const std::string& path);
  double share();
  InputShard numbered(InputShard shard);

  std::deque<std::filesystem::path> paths_;
  std::size_t given_ = 0;  // paths in all
  std::string list_;       // its name, for messages
  std::ifstream file_;
  std::istream* stream_ = nullptr;
  bool at_begin_ = true;  // of the stream
  double list_bytes_ = 0;
  std::optional<FolderWalk> walk_;
  std::filesystem::path container_;  // the next shard
  Index number_ = 0;
  std::shared_ptr<PassedOver> passed_over_ = std::make_shared<PassedOver>();
};

// Its pictures, whose labels mean nothing. Those of a tar or packed file are called FILE/NAME. Throws
// DataError where the tar or packed file cannot be read.
Dataset open_shard(const InputShard& shard);

}  // namespace dfengine
