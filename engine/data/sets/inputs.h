// Any number of pictures without labels, taken up a part at a time.
#pragma once

#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/sets/dataset.h"
#include "engine/data/sets/listing.h"
#include "kernels/base/unique_fd.h"

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

// The names in a list, taken up as they come: one a line or, where the first 64 KiB hold a NUL
// byte, with one behind each, as find -print0 writes them.
class NameList {
 public:
  // A file, or "-" for standard input. Throws DataError where there is none, and for a folder, tar
  // or packed file.
  explicit NameList(const std::filesystem::path& list);
  // Nothing after the last name. Throws DataError where the list cannot be read, is a picture or
  // holds a NUL byte in a line.
  std::optional<std::string> next();
  // How much of it was given, from 0 to 1; 0 where nobody can say.
  double share() const;

 private:
  // Reads on; says whether there was more.
  bool fill();
  void look_at_first_bytes();

  std::string name_;  // for messages
  UniqueFd fd_;
  double bytes_ = 0, read_ = 0;  // of the whole, where it is known
  std::string buffer_;
  std::size_t at_ = 0;
  char end_ = '\n';  // of a name
};

// Goes through pictures, folders of them, tars (also as {000..063}) and packed files, in the order
// given; of a folder in the order of its paths. It keeps no more than a shard.
class InputReader {
 public:
  explicit InputReader(const std::vector<std::filesystem::path>& paths);
  // The paths of a list. Throws as NameList does.
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
  std::optional<NameList> list_;
  std::optional<FolderWalk> walk_;
  std::filesystem::path container_;  // the next shard
  Index number_ = 0;
  std::shared_ptr<PassedOver> passed_over_ = std::make_shared<PassedOver>();
};

// Its pictures, whose labels mean nothing. Those of a tar or packed file are called FILE/NAME.
// Throws DataError where the tar or packed file cannot be read.
Dataset open_shard(const InputShard& shard);

}  // namespace dfengine
