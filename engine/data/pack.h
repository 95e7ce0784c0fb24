// Prepared pictures in one file: they are decoded and resized once, and read at the speed of
// memory.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/data/pack_format.h"
#include "kernels/base/thread_pool.h"
#include "kernels/base/unique_fd.h"

namespace dfengine {

inline constexpr const char* kPackExtension = ".dfpack";

// Tells by the extension.
bool is_pack(const std::filesystem::path& file);

// A finished packed file. Several threads may read it at the same time.
class Pack {
 public:
  // Throws DataError naming the file and what is wrong with it: it does not exist, is no packed
  // file, is cut short, or has a damaged index.
  explicit Pack(const std::filesystem::path& file);

  const std::filesystem::path& file() const { return file_; }
  const PackIndex& index() const { return index_; }
  // The records without a picture, in order.
  const std::vector<Index>& bad() const { return bad_; }
  // Writes out [size, size, 3]. Throws DataError where the record's checksum does not hold, and
  // where it has no picture, with the reason.
  void read(Index record, std::uint8_t* out) const;
  // Whether this picture could not be read when it was packed, which another try may change.
  bool is_unread(Index record) const;

 private:
  // Throws DataError where the file does not have all these bytes any more.
  void read_at(std::size_t at, void* out, std::size_t bytes) const;
  std::size_t place_of(Index record) const;

  std::filesystem::path file_;
  UniqueFd fd_;
  PackIndex index_;
  std::vector<Index> bad_;
  std::size_t records_at_ = 0;
};

// Whether the file has a record that could not be read, of a picture that can be opened now.
// `splits` are those that were packed.
bool can_be_completed(const Pack& pack, const std::vector<Dataset>& splits);

// The splits of a packed file, in the order asked for, or all of them where none is asked for.
// "valid" also finds "val" and the other way round, and "all" is all of them as one, by path.
// Pictures that could not be read when the file was packed are still bad files. Throws DataError
// for a split that is not there.
std::vector<Dataset> open_pack(const std::filesystem::path& file,
                               const std::vector<std::string>& wanted);

// The picture of a sample that is not packed: from its own file, or out of a tar. Throws DataError
// as Preparer::decode does.
Image& decode_sample(const Dataset& dataset, const Sample& sample, Preparer& preparer);

// Writes a sample's square picture, out [size, size, 3], from the packed file where its set has
// one, else from its own file. Throws DataError as both do.
void prepare_sample(const Dataset& dataset, const Sample& sample, Preparer& preparer,
                    std::uint8_t* out);

struct PackResult {
  Index records = 0;
  Index resumed = 0;       // so many of them were there from an earlier try
  std::vector<Index> bad;  // records without a picture
  bool finished = false;
};

// How much write_pack will write.
std::uintmax_t pack_file_bytes(const std::vector<Dataset>& splits, const Preparation& how);

// Writes FILE.part and renames it when it is complete. It goes on with a FILE.part of the same
// pictures and preparation, or with a finished FILE of them, to read what could not be read then;
// it begins anew where there is another. Running out of memory is no fault of a picture and ends
// it. `go_on` is called after every few pictures with the number done and the number in all; when
// it says no, the part stays for the next time. Throws UsageError when a split is itself packed,
// Error when the disk is too small or another process writes the same file.
PackResult write_pack(const std::filesystem::path& file, const std::vector<Dataset>& splits,
                      const Preparation& how, ThreadPool& pool,
                      const std::function<bool(Index done, Index total)>& go_on);

}  // namespace dfengine
