// Objects of an HDF5 file: the messages of their headers and the links of groups.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "weights/hdf5/hdf5_bytes.h"

namespace dfengine::weights {

// Header messages by number (specification, section IV.A.2).
enum class Hdf5MessageType : unsigned {
  Dataspace = 0x01,
  LinkInfo = 0x02,
  Datatype = 0x03,
  Link = 0x06,
  ExternalFiles = 0x07,
  Layout = 0x08,
  Filters = 0x0B,
  Attribute = 0x0C,
  Continuation = 0x10,
  SymbolTable = 0x11,
  AttributeInfo = 0x15,
};

struct Hdf5Message {
  Hdf5MessageType type;
  bool shared;  // the body is not the message but says where it is
  Hdf5Cursor body;
};

// The messages of the object header at that address, of version 1 or 2, with those of its
// continuation blocks. The checksums of version 2 are not compared. Throws ModelFileError.
std::vector<Hdf5Message> read_messages(Hdf5Bytes& file, std::uint64_t address);

// A node of a B-tree of version 1 (section III.A.1): its level, and its entries behind the head.
struct Hdf5TreeNode {
  unsigned level;
  std::uint64_t count;  // of entries: a key, then the address of a child
  Hdf5Cursor entries;
};

enum class Hdf5Tree : unsigned { Group = 0, Chunks = 1 };

// `level` is the one that the node must have; a root may have any. `key` is a key's size; a group's
// tree has one more of them at the end. Throws ModelFileError.
Hdf5TreeNode open_tree_node(Hdf5Bytes& file, std::uint64_t address, Hdf5Tree tree,
                            std::optional<unsigned> level, std::uint64_t key);

// The first message of the type, or null.
const Hdf5Message* find_message(const std::vector<Hdf5Message>& messages, Hdf5MessageType type);

bool is_group(const std::vector<Hdf5Message>& messages);

struct Hdf5Link {
  std::string name;
  bool hard;              // false: soft, external, or of a program's own kind
  std::uint64_t address;  // of the object's header, for a hard link
};

// The links of a group, from its symbol table or its link messages, sorted by name. Throws
// ModelFileError, also for links in a fractal heap (dense storage), which Keras does not write.
std::vector<Hdf5Link> read_links(Hdf5Bytes& file, const std::vector<Hdf5Message>& messages);

}  // namespace dfengine::weights
