// Datatype and dataspace messages, layouts (section IV.A.2.i), filters (IV.A.2.l) and chunks
// (III.A.1, node type 1) of data sets.
#include "weights/hdf5/hdf5_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

namespace dfengine::weights {
namespace {

constexpr unsigned kMaxRank = 8;

// IEEE 754's formats as the format describes a floating-point type; bits from the lowest.
struct FloatFormat {
  std::size_t size;
  unsigned sign, exponent, exponent_bits, fraction, fraction_bits;
  std::uint32_t bias;
  bool operator==(const FloatFormat&) const = default;
};
constexpr std::array<FloatFormat, 3> kFloats = {
    {{2, 15, 10, 5, 0, 10, 15}, {4, 31, 23, 8, 0, 23, 127}, {8, 63, 52, 11, 0, 52, 1023}}};

Hdf5Type read_float(Hdf5Cursor in, unsigned bits, std::size_t size) {
  constexpr unsigned kBigEndian = 1, kVaxOrder = 1u << 6, kImpliedOne = 2;
  const Hdf5Type other{Hdf5Type::Kind::OtherFloat, size, false};
  const unsigned offset = in.u16(), precision = in.u16();
  const FloatFormat found{size, bits >> 8 & 0xFF, in.u8(), in.u8(), in.u8(), in.u8(), in.u32()};
  const bool known = std::ranges::find(kFloats, found) != kFloats.end();
  if (!known || offset != 0 || precision != 8 * size || (bits & kVaxOrder) != 0 ||
      (bits >> 4 & 3) != kImpliedOne)
    return other;
  return {Hdf5Type::Kind::Ieee, size, (bits & kBigEndian) != 0};
}

// zlib's documentation: no input of deflate grows by more than 1032:1.
constexpr std::uint64_t kMaxInflation = 1032;
constexpr unsigned kGzip = 1, kShuffle = 2;

void to_little_endian(std::vector<std::byte>& bytes, std::size_t each) {
  for (std::size_t at = 0; at + each <= bytes.size(); at += each)
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 bytes.begin() + static_cast<std::ptrdiff_t>(at + each));
}

// The shuffle filter stores the first bytes of all values, then all second bytes, and so on. Bytes
// that do not fill a value stay at the end.
std::vector<std::byte> unshuffle(const std::vector<std::byte>& in, std::size_t each) {
  std::vector<std::byte> out(in);
  const std::size_t count = in.size() / each;
  for (std::size_t byte = 0; byte < each; ++byte)
    for (std::size_t i = 0; i < count; ++i) out[i * each + byte] = in[byte * count + i];
  return out;
}

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

// Copies the part of a chunk that lies within the data set: its dimensions from the i-th on, of
// which the values begin at `from` of the chunk's and at `to` of the data set's.
void place(const Grid& grid, const Chunk& chunk, const std::vector<std::byte>& values,
           std::vector<std::byte>& out, std::size_t i = 0, std::uint64_t from = 0,
           std::uint64_t to = 0) {
  const std::uint64_t count = std::min(grid.chunk[i], grid.dims[i] - chunk.at[i]);
  from *= grid.chunk[i];
  to = to * grid.dims[i] + chunk.at[i];
  if (i + 1 == grid.dims.size()) {
    std::memcpy(out.data() + to * grid.each, values.data() + from * grid.each, count * grid.each);
    return;
  }
  for (std::uint64_t k = 0; k < count; ++k)
    place(grid, chunk, values, out, i + 1, from + k, to + k);
}

// Bytes that the tensor needs. Refuses when so few stored bytes cannot hold them.
std::size_t checked_size(Hdf5Bytes& file, const Tensor& tensor, std::uint64_t most) {
  const std::uint64_t each = dtype_size(tensor.dtype);
  const auto count =
      static_cast<std::uint64_t>(tensor.count());  // read_dataspace checked that it fits
  if (count > most / each) {
    file.refuse(fmt::format("{} stored bytes cannot hold [{}] of {} bytes each", most,
                            fmt::join(tensor.shape, ", "), each));
  }
  return static_cast<std::size_t>(count * each);
}

void read_contiguous(Hdf5Bytes& file, Hdf5Cursor in, Tensor& tensor) {
  const std::uint64_t address = in.address_field();
  const std::uint64_t size = address == Hdf5Cursor::kUndefined ? 0 : in.length();
  const std::size_t needed = checked_size(file, tensor, size);
  if (needed == 0) return;
  if (size != needed)
    file.refuse(fmt::format("{} bytes are stored, its values take {}", size, needed));
  const auto bytes = file.stored(address, size, "data");
  tensor.bytes.assign(bytes.begin(), bytes.end());
}

std::vector<Filter> read_filters(const std::vector<Hdf5Message>& messages) {
  const Hdf5Message* message = find_message(messages, Hdf5MessageType::Filters);
  if (message == nullptr) return {};
  Hdf5Cursor in = message->body;
  const unsigned version = in.u8(), count = in.u8();
  if (message->shared || version < 1 || version > 2)
    in.refuse(fmt::format("filters of unknown version {}", version));
  if (version == 1) in.skip(6);
  std::vector<Filter> filters;
  for (unsigned i = 0; i < count; ++i) {
    constexpr unsigned kFirstUnregistered = 256;
    Filter filter{in.u16(), 0};
    if (filter.id != kGzip && filter.id != kShuffle)
      in.refuse(fmt::format("has filter {}; only gzip and shuffle are read", filter.id));
    if (std::ranges::find(filters, filter.id, &Filter::id) != filters.end())
      in.refuse("uses the same filter twice");
    const unsigned name = version == 1 || filter.id >= kFirstUnregistered ? in.u16() : 0;
    in.skip(2);  // flags
    const unsigned values = in.u16();
    in.skip(name);
    for (unsigned v = 0; v < values; ++v) {
      const std::uint32_t value = in.u32();
      if (v == 0) filter.value = value;
    }
    if (version == 1 && values % 2 == 1) in.skip(4);
    filters.push_back(filter);
  }
  return filters;
}

void read_tree(Hdf5Bytes& file, std::uint64_t address, std::optional<unsigned> level,
               std::size_t rank, std::vector<Chunk>& chunks) {
  Hdf5TreeNode node = open_tree_node(file, address, Hdf5Tree::Chunks, level, 8 + 8 * (rank + 1));
  for (std::uint64_t i = 0; i < node.count; ++i) {
    const std::uint32_t size = node.entries.u32();
    Chunk chunk{{}, node.entries.u32(), {}};
    for (std::size_t d = 0; d < rank; ++d) chunk.at.push_back(node.entries.number(8));
    node.entries.skip(8);  // place within a value
    const std::uint64_t below = node.entries.address_field();
    if (node.level > 0) {
      read_tree(file, below, node.level - 1, rank, chunks);
    } else {
      chunk.stored = file.stored(below, size, "chunk");
      chunks.push_back(std::move(chunk));
    }
  }
}

void check_complete(Hdf5Bytes& file, const Grid& grid, const std::vector<Chunk>& chunks) {
  std::uint64_t cells = 1;
  std::vector<std::uint64_t> cells_along;
  for (std::size_t i = 0; i < grid.dims.size(); ++i) {
    cells_along.push_back((grid.dims[i] - 1) / grid.chunk[i] + 1);
    // This cannot overflow: it is below the number of values.
    cells *= cells_along.back();
  }
  if (cells != chunks.size()) file.refuse(fmt::format("has {} chunks of {}", chunks.size(), cells));
  std::vector<bool> seen(chunks.size(), false);
  for (const Chunk& c : chunks) {
    std::uint64_t cell = 0;
    for (std::size_t i = 0; i < grid.dims.size(); ++i) {
      if (c.at[i] % grid.chunk[i] != 0 || c.at[i] >= grid.dims[i])
        file.refuse(fmt::format("a chunk at [{}] is beside the grid", fmt::join(c.at, ", ")));
      cell = cell * cells_along[i] + c.at[i] / grid.chunk[i];
    }
    const auto index = static_cast<std::size_t>(cell);
    if (seen[index]) file.refuse(fmt::format("has two chunks at [{}]", fmt::join(c.at, ", ")));
    seen[index] = true;
  }
}

std::vector<std::byte> unpack(Hdf5Bytes& file, const Grid& grid, const Chunk& chunk) {
  std::vector<std::byte> bytes(chunk.stored.begin(), chunk.stored.end());
  for (std::size_t i = grid.filters.size(); i-- > 0;) {
    const Filter& filter = grid.filters[i];
    if ((chunk.skipped_filters >> i & 1) != 0) continue;
    if (filter.id == kShuffle) {
      if (filter.value != grid.each)
        file.refuse(fmt::format("is shuffled as values of {} bytes", filter.value));
      bytes = unshuffle(bytes, grid.each);
      continue;
    }
    std::vector<std::byte> out(grid.chunk_size);
    uLongf size = out.size();
    const int status = uncompress(reinterpret_cast<Bytef*>(out.data()), &size,
                                  reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    if (status != Z_OK || size != out.size()) {
      file.refuse(fmt::format("the chunk at [{}] cannot be unpacked to {} bytes: {}",
                              fmt::join(chunk.at, ", "), out.size(),
                              status == Z_OK ? "it holds fewer" : zError(status)));
    }
    bytes = std::move(out);
  }
  if (bytes.size() != grid.chunk_size) {
    file.refuse(fmt::format("the chunk at [{}] has {} bytes instead of {}",
                            fmt::join(chunk.at, ", "), bytes.size(), grid.chunk_size));
  }
  return bytes;
}

void read_chunked(Hdf5Bytes& file, Hdf5Cursor in, std::vector<Filter> filters, Tensor& tensor) {
  const std::size_t rank = tensor.shape.size();
  const unsigned found = in.u8();
  if (rank == 0 || found != rank + 1)
    in.refuse(fmt::format("chunks of {} dimensions in a data set of {}", found - 1, rank));
  const std::uint64_t tree = in.address_field();
  Grid grid{{}, {}, dtype_size(tensor.dtype), 0, std::move(filters)};
  grid.dims.assign(tensor.shape.begin(), tensor.shape.end());
  std::vector<std::int64_t> chunk;
  for (std::size_t i = 0; i < rank; ++i) chunk.push_back(in.u32());
  grid.chunk.assign(chunk.begin(), chunk.end());
  if (in.u32() != grid.each || std::ranges::find(chunk, 0) != chunk.end())
    in.refuse(fmt::format("chunks of [{}] are impossible", fmt::join(chunk, ", ")));
  if (checked_size(file, tensor, ~std::uint64_t{0}) == 0) return;

  std::vector<Chunk> chunks;
  if (tree != Hdf5Cursor::kUndefined) read_tree(file, tree, std::nullopt, rank, chunks);
  const bool packed =
      std::ranges::any_of(grid.filters, [](const Filter& f) { return f.id == kGzip; });
  const std::uint64_t growth = packed ? kMaxInflation : 1;
  std::uint64_t all = 0, least = ~std::uint64_t{0};
  for (const Chunk& c : chunks) {
    all += c.stored.size();
    least = std::min<std::uint64_t>(least, c.stored.size());
  }
  const std::size_t size = checked_size(file, tensor, all * growth);
  const auto count = checked_count(chunk);
  if (!count || static_cast<std::uint64_t>(*count) > least * growth / grid.each) {
    file.refuse(
        fmt::format("{} stored bytes cannot hold a chunk of [{}]", least, fmt::join(chunk, ", ")));
  }
  grid.chunk_size = static_cast<std::size_t>(*count) * grid.each;
  check_complete(file, grid, chunks);
  if (packed) file.charge_unpacked(chunks.size() * grid.chunk_size);
  tensor.bytes.resize(size);
  for (const Chunk& c : chunks) place(grid, c, unpack(file, grid, c), tensor.bytes);
}

void read_layout(Hdf5Bytes& file, Hdf5Cursor in, const std::vector<Hdf5Message>& messages,
                 Tensor& tensor) {
  constexpr unsigned kCompact = 0, kContiguous = 1, kChunked = 2;
  const unsigned version = in.u8();
  if (version != 3 && version != 4)
    in.refuse(fmt::format("layout of version {}; 3 and 4 are read", version));
  const unsigned kind = in.u8();
  auto filters = read_filters(messages);
  if (kind != kChunked && !filters.empty()) in.refuse("has filters but no chunks");
  if (kind == kCompact) {
    const unsigned size = in.u16();
    const auto bytes = in.take(size);
    if (checked_size(file, tensor, size) != size) in.refuse("its size is not that of its values");
    tensor.bytes.assign(bytes.begin(), bytes.end());
  } else if (kind == kContiguous) {
    read_contiguous(file, in, tensor);
  } else if (kind == kChunked && version == 3) {
    read_chunked(file, in, std::move(filters), tensor);
  } else {
    in.refuse(kind == kChunked ? "has chunks of the new kind (libver='latest'), which is not read"
                               : "has a layout (virtual or unknown) that is not read");
  }
}

}  // namespace

Hdf5Type read_datatype(Hdf5Cursor in) {
  const unsigned head = in.u8();
  if (const unsigned version = head >> 4; version < 1 || version > 5)
    in.refuse(fmt::format("type of unknown version {}", version));
  const auto bits = static_cast<unsigned>(in.number(3));
  const std::size_t size = in.u32();
  constexpr unsigned kFloat = 1, kText = 3, kOpaque = 5, kVariable = 9, kVariableText = 1;
  switch (head & 0xF) {
    case kFloat:
      return read_float(in, bits, size);
    case kText:
      return {Hdf5Type::Kind::FixedText, size, false};
    case kOpaque:  // what h5py makes of a type that NumPy has not
      if (size == dtype_size(DType::BF16)) return {Hdf5Type::Kind::BFloat16, size, false};
      break;
    case kVariable:
      if ((bits & 0xF) == kVariableText) return {Hdf5Type::Kind::VariableText, size, false};
      break;
    default:
      break;
  }
  return {Hdf5Type::Kind::Other, size, false};
}

std::optional<std::vector<std::int64_t>> read_dataspace(Hdf5Cursor in) {
  const unsigned version = in.u8();
  if (version != 1 && version != 2)
    in.refuse(fmt::format("data space of unknown version {}", version));
  const unsigned rank = in.u8();
  in.skip(1);  // flags: whether greatest extents follow
  constexpr unsigned kNull = 2;
  if (version == 1) {
    in.skip(5);
  } else if (in.u8() == kNull) {
    return std::nullopt;
  }
  if (rank > kMaxRank) in.refuse(fmt::format("has {} dimensions, more than {}", rank, kMaxRank));
  std::vector<std::int64_t> dims;
  for (unsigned i = 0; i < rank; ++i) {
    const std::uint64_t dim = in.length();
    if (dim > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      in.refuse(fmt::format("dimension {} of {} is impossible", i, dim));
    dims.push_back(static_cast<std::int64_t>(dim));
  }
  if (!checked_count(dims)) in.refuse("has impossible dimensions");
  return dims;
}

std::optional<Tensor> read_dataset(Hdf5Bytes& file, const std::vector<Hdf5Message>& messages) {
  using enum Hdf5MessageType;
  const Hdf5Message* type_message = find_message(messages, Datatype);
  const Hdf5Message* space_message = find_message(messages, Dataspace);
  const Hdf5Message* layout = find_message(messages, Layout);
  if (type_message == nullptr || space_message == nullptr || layout == nullptr)
    file.refuse("is neither a group nor a whole data set");
  if (type_message->shared || space_message->shared || layout->shared)
    file.refuse("has a named data type or shares another message, which is not read");
  const Hdf5Type type = read_datatype(type_message->body);
  if (type.kind == Hdf5Type::Kind::OtherFloat)
    file.refuse("is not of IEEE floats of 16, 32 or 64 bits");
  const bool bfloat16 = type.kind == Hdf5Type::Kind::BFloat16;
  if (type.kind != Hdf5Type::Kind::Ieee && !bfloat16) return std::nullopt;
  if (find_message(messages, ExternalFiles) != nullptr)
    file.refuse("keeps its data in another file");
  auto dims = read_dataspace(space_message->body);
  if (!dims) file.refuse("has no data space");

  Tensor tensor{file.path(), DType::F32, std::move(*dims), {}};
  if (type.size != 4) tensor.dtype = type.size == 8 ? DType::F64 : DType::F16;
  if (bfloat16) tensor.dtype = DType::BF16;
  read_layout(file, layout->body, messages, tensor);
  if (type.big_endian) to_little_endian(tensor.bytes, type.size);
  return tensor;
}

}  // namespace dfengine::weights
