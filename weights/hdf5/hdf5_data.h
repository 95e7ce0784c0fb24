// The values of HDF5 data sets.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "weights/hdf5/hdf5_bytes.h"
#include "weights/hdf5/hdf5_object.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {

class Hdf5Data {
 public:
  explicit Hdf5Data(Hdf5Bytes& file) : file_(file) {}

  // The data set with that header as a tensor, named by the path that file.enter() was given;
  // nothing for values that are not floats. The values may be stored in one piece, within the
  // header, or in chunks under a B-tree of version 1, packed with gzip, shuffle or not at all.
  // Throws ModelFileError for everything else.
  std::optional<Tensor> read(const std::vector<Hdf5Message>& messages);

 private:
  struct Chunk {
    std::vector<std::uint64_t> at;  // its first value's place in the data set
    std::uint32_t skipped_filters;  // bit i: filter i was not used on it
    std::span<const std::byte> stored;
  };
  struct Filter {
    unsigned id;
    std::uint32_t value;  // of shuffle: bytes of one value
  };
  // What all chunks of a data set share.
  struct Grid {
    std::vector<std::uint64_t> dims, chunk;
    std::size_t each;        // bytes of a value
    std::size_t chunk_size;  // bytes of an unpacked chunk
    std::vector<Filter> filters;
  };

  void read_layout(Hdf5Cursor in, const std::vector<Hdf5Message>& messages, Tensor& tensor);
  void read_contiguous(Hdf5Cursor in, Tensor& tensor);
  void read_chunked(Hdf5Cursor in, std::vector<Filter> filters, Tensor& tensor);
  std::vector<Filter> read_filters(const std::vector<Hdf5Message>& messages) const;
  void read_tree(std::uint64_t address, std::optional<unsigned> level, std::size_t rank,
                 std::vector<Chunk>& chunks);
  void check_complete(const Grid& grid, const std::vector<Chunk>& chunks) const;
  std::vector<std::byte> unpack(const Grid& grid, const Chunk& chunk) const;
  // Bytes of a data set. All that are asked for together are at most as many as the file has.
  std::span<const std::byte> stored(std::uint64_t address, std::uint64_t size, const char* what);
  // Bytes that the tensor needs. Refuses when so few stored bytes cannot hold them.
  std::size_t checked_size(const Tensor& tensor, std::uint64_t most) const;

  Hdf5Bytes& file_;
  std::uint64_t stored_ = 0;
};

}  // namespace dfengine::weights
