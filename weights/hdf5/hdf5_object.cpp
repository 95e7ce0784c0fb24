// Object headers (section IV.A.1), symbol tables (III.A to III.D) and link messages (IV.A.2.g).
#include "weights/hdf5/hdf5_object.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace dfengine::weights {
namespace {

constexpr unsigned kShared = 1u << 1;  // message flags
constexpr unsigned kMustUnderstand = 1u << 7;
constexpr unsigned kLastKnownMessage = 0x17;  // of specification 3.0

// How the messages of a header are laid out.
struct HeaderFormat {
  unsigned version;
  bool creation_order;
};

struct Block {
  std::uint64_t address;
  std::uint64_t size;
};

Hdf5Message read_message(Hdf5Bytes& file, Hdf5Cursor& in, const HeaderFormat& format) {
  const unsigned type = format.version == 1 ? in.u16() : in.u8();
  const unsigned size = in.u16();
  const unsigned flags = in.u8();
  if (format.version == 1) in.skip(3);
  if (format.creation_order) in.skip(2);
  if (type > kLastKnownMessage && (flags & kMustUnderstand) != 0)
    file.refuse(fmt::format("has a header message of unknown type {}", type));
  return {static_cast<Hdf5MessageType>(type), (flags & kShared) != 0,
          in.part(size, "header message")};
}

// Appends the messages of a block and the blocks that continue it.
void read_block(Hdf5Bytes& file, Hdf5Cursor in, const HeaderFormat& format,
                std::vector<Hdf5Message>& messages, std::vector<Block>& blocks) {
  const std::size_t head = format.version == 1 ? 8 : format.creation_order ? 6 : 4;
  while (in.left() >= head) {
    Hdf5Message message = read_message(file, in, format);
    if (message.type == Hdf5MessageType::Continuation) {
      const std::uint64_t address = message.body.address_field();
      blocks.push_back({address, message.body.length()});
    } else {
      messages.push_back(message);
    }
  }
}

Hdf5Cursor open_block(Hdf5Bytes& file, const Block& block, unsigned version) {
  constexpr std::uint64_t kChecksum = 4;
  if (version == 1) return file.open(block.address, block.size, "object header block");
  Hdf5Cursor in = file.open(block.address, block.size, "object header block");
  in.expect("OCHK");
  if (in.left() < kChecksum) in.refuse("is too short");
  return in.part(in.left() - kChecksum, "object header block");
}

std::vector<Hdf5Message> read_blocks(Hdf5Bytes& file, const Hdf5Cursor& first,
                                     const HeaderFormat& format) {
  std::vector<Hdf5Message> messages;
  std::vector<Block> blocks;
  read_block(file, first, format, messages, blocks);
  while (!blocks.empty()) {
    const Block next = blocks.back();
    blocks.pop_back();
    read_block(file, open_block(file, next, format.version), format, messages, blocks);
  }
  return messages;
}

// Version 1: counts and the size of the first block, then padding to a multiple of 8 bytes.
std::vector<Hdf5Message> read_version1(Hdf5Bytes& file, std::uint64_t address) {
  constexpr std::uint64_t kPrefix = 16;
  Hdf5Cursor in = file.open(address, kPrefix, "object header");
  in.skip(8);  // version, reserved, number of messages, references to the object
  const std::uint32_t size = in.u32();
  return read_blocks(file, file.open(address + kPrefix, size, "object header"), {1, false});
}

std::vector<Hdf5Message> read_version2(Hdf5Bytes& file, std::uint64_t address) {
  constexpr std::uint64_t kLeastPrefix = 6;
  Hdf5Cursor start = file.open(address, kLeastPrefix, "object header");
  start.expect("OHDR");
  start.skip(1);
  const unsigned flags = start.u8();
  const std::uint64_t times = (flags & 0x20) != 0 ? 16 : 0;
  const std::uint64_t limits = (flags & 0x10) != 0 ? 4 : 0;
  const unsigned width = 1u << (flags & 3);
  const std::uint64_t rest = address + kLeastPrefix + times + limits;
  const std::uint64_t size = file.open(rest, width, "object header").number(width);
  const HeaderFormat format{2, (flags & 4) != 0};
  return read_blocks(file, file.open(rest + width, size, "object header"), format);
}

// The names of a group: NUL-ended texts in the data segment of a local heap.
std::span<const std::byte> read_heap(Hdf5Bytes& file, std::uint64_t address) {
  const std::uint64_t size = 8 + 2 * file.length_width() + file.address_width();
  Hdf5Cursor in = file.open(address, size, "local heap");
  in.expect("HEAP");
  if (const unsigned version = in.u8(); version != 0)
    in.refuse(fmt::format("version {} is unknown", version));
  in.skip(3);
  const std::uint64_t segment_size = in.length();
  in.skip(file.length_width());  // head of the list of free parts
  return file.data(in.address_field(), segment_size, "names of a local heap");
}

// A group's B-tree of symbol table nodes, and its names.
class SymbolTable {
 public:
  SymbolTable(Hdf5Bytes& file, std::span<const std::byte> names) : file_(file), names_(names) {}

  void read_tree(std::uint64_t address, std::optional<unsigned> level) {
    const unsigned key = file_.length_width();
    Hdf5TreeNode node = open_tree_node(file_, address, Hdf5Tree::Group, level, key);
    for (std::uint64_t i = 0; i < node.count; ++i) {
      node.entries.skip(key);
      const std::uint64_t below = node.entries.address_field();
      if (node.level == 0) {
        read_node(below);
      } else {
        read_tree(below, node.level - 1);
      }
    }
  }

  std::vector<Hdf5Link> take() { return std::move(links_); }

 private:
  void read_node(std::uint64_t address) {
    Hdf5Cursor in = file_.open(address, 8, "symbol table node");
    in.expect("SNOD");
    if (const unsigned version = in.u8(); version != 1)
      in.refuse(fmt::format("version {} is unknown", version));
    in.skip(1);
    const std::uint64_t count = in.u16();
    const std::uint64_t entry = 2 * file_.address_width() + 24;
    Hdf5Cursor entries = file_.open(address + 8, count * entry, "symbol table node");
    for (std::uint64_t i = 0; i < count; ++i) {
      constexpr std::uint32_t kSoftLink = 2;
      const std::uint64_t name = entries.address_field();
      const std::uint64_t object = entries.address_field();
      const bool hard = entries.u32() != kSoftLink;
      entries.skip(20);  // reserved, scratch pad
      links_.push_back({name_at(name), hard, object});
    }
  }

  std::string name_at(std::uint64_t offset) {
    if (offset >= names_.size())
      file_.refuse(fmt::format("an entry's name is at byte {} of {}", offset, names_.size()));
    const auto rest = hdf5_text(names_.subspan(static_cast<std::size_t>(offset)));
    file_.charge(rest.size());
    return std::string(rest);
  }

  Hdf5Bytes& file_;
  std::span<const std::byte> names_;
  std::vector<Hdf5Link> links_;
};

Hdf5Link read_link(Hdf5Cursor in) {
  if (const unsigned version = in.u8(); version != 1)
    in.refuse(fmt::format("link of unknown version {}", version));
  const unsigned flags = in.u8();
  const unsigned kind = (flags & 8) != 0 ? in.u8() : 0;
  if ((flags & 4) != 0) in.skip(8);   // creation order
  if ((flags & 16) != 0) in.skip(1);  // character set
  const std::uint64_t size = in.number(1u << (flags & 3));
  Hdf5Link link{std::string(hdf5_text(in.take(size))), kind == 0, Hdf5Cursor::kUndefined};
  if (link.hard) link.address = in.address_field();
  return link;
}

void check_compact(Hdf5Bytes& file, Hdf5Cursor in) {
  if (const unsigned version = in.u8(); version != 0)
    in.refuse(fmt::format("link info of unknown version {}", version));
  if ((in.u8() & 1) != 0) in.skip(8);  // greatest creation order
  if (in.address_field() != Hdf5Cursor::kUndefined) {
    file.refuse(
        "keeps its links in a fractal heap (dense storage), which is not read; write the file "
        "with h5py's or Keras' default settings");
  }
}

}  // namespace

std::vector<Hdf5Message> read_messages(Hdf5Bytes& file, std::uint64_t address) {
  const unsigned version = file.open(address, 1, "object header").u8();
  if (version == 1) return read_version1(file, address);
  if (version == 'O') return read_version2(file, address);
  file.refuse(fmt::format("object header at byte {}: version {} is unknown", address, version));
}

Hdf5TreeNode open_tree_node(Hdf5Bytes& file, std::uint64_t address, Hdf5Tree tree,
                            std::optional<unsigned> level, std::uint64_t key) {
  const bool group = tree == Hdf5Tree::Group;
  Hdf5Cursor in = file.open(address, 8, group ? "group B-tree" : "chunk B-tree");
  in.expect("TREE");
  if (in.u8() != static_cast<unsigned>(tree))
    in.refuse(group ? "is not a group's" : "is not of chunks");
  const unsigned found = in.u8();
  if (level && found != *level)
    in.refuse(fmt::format("is on level {} instead of {}", found, *level));
  const std::uint64_t count = in.u16(), child = file.address_width();
  return {found, count,
          file.open(address + 8 + 2 * child, count * (key + child) + (group ? key : 0),
                    group ? "entries of a group B-tree" : "entries of a chunk B-tree")};
}

const Hdf5Message* find_message(const std::vector<Hdf5Message>& messages, Hdf5MessageType type) {
  const auto found = std::ranges::find(messages, type, &Hdf5Message::type);
  return found == messages.end() ? nullptr : &*found;
}

bool is_group(const std::vector<Hdf5Message>& messages) {
  return find_message(messages, Hdf5MessageType::SymbolTable) != nullptr ||
         find_message(messages, Hdf5MessageType::LinkInfo) != nullptr;
}

std::vector<Hdf5Link> read_links(Hdf5Bytes& file, const std::vector<Hdf5Message>& messages) {
  std::vector<Hdf5Link> links;
  if (const Hdf5Message* table = find_message(messages, Hdf5MessageType::SymbolTable)) {
    Hdf5Cursor in = table->body;
    const std::uint64_t tree = in.address_field();
    SymbolTable symbols(file, read_heap(file, in.address_field()));
    symbols.read_tree(tree, std::nullopt);
    links = symbols.take();
  }
  for (const Hdf5Message& message : messages) {
    if (message.type == Hdf5MessageType::LinkInfo) check_compact(file, message.body);
    if (message.type == Hdf5MessageType::Link) links.push_back(read_link(message.body));
  }
  std::ranges::sort(links, {}, &Hdf5Link::name);
  return links;
}

}  // namespace dfengine::weights
