// Walks the groups of an HDF5 file from its superblock (specification, section II.A), and reads the
// texts of their attributes.
#include "weights/hdf5/hdf5_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "weights/hdf5/hdf5_bytes.h"
#include "weights/hdf5/hdf5_data.h"
#include "weights/hdf5/hdf5_object.h"

namespace dfengine::weights {
namespace {

// Keras nests a few models, so that no sound file is deeper.
constexpr int kMaxDepth = 32;
constexpr std::string_view kSignature("\x89HDF\r\n\x1a\n", 8);
constexpr std::array<std::string_view, 5> kAttributes = {"layer_names", "weight_names", "backend",
                                                         "keras_version", "model_config"};

// Sets the file's widths. Returns the address of the root group's header.
std::uint64_t read_superblock(Hdf5Bytes& file) {
  constexpr std::uint64_t kHead = 9;  // signature and version
  Hdf5Cursor head = file.open(0, kHead, "superblock");
  head.expect(kSignature);
  const unsigned version = head.u8();
  if (version > 3) head.refuse(fmt::format("version {} is unknown", version));
  const bool old = version < 2;
  // Beside the widths stand versions, group sizes and flags; version 1 adds the size of chunk
  // trees.
  Hdf5Cursor in = file.open(kHead, old ? (version == 0 ? 15 : 19) : 3, "superblock");
  if (old) in.skip(4);
  const unsigned of_address = in.u8(), of_length = in.u8();
  file.set_widths(of_address, of_length);
  // Behind them stand four addresses (base, free space or extension, end, driver) and then the
  // root's entry or its address.
  const std::uint64_t at = kHead + (old ? (version == 0 ? 15 : 19) : 3);
  Hdf5Cursor addresses = file.open(at, (old ? 6 : 4) * of_address, "superblock");
  if (addresses.address_field() != 0) addresses.refuse("the file begins elsewhere (user block)");
  addresses.skip((old ? 4 : 2) * of_address);
  return addresses.address_field();
}

// Parts of an attribute of version 1 are filled up to a multiple of 8 bytes.
std::uint64_t padded(std::uint64_t size, unsigned version) {
  return version == 1 ? (size + 7) / 8 * 8 : size;
}

struct AttributeHead {
  std::string name;
  bool named_type;
  std::uint64_t type_size, space_size;
  Hdf5Cursor rest;
};

AttributeHead read_head(const Hdf5Message& message) {
  Hdf5Cursor in = message.body;
  const unsigned version = in.u8();
  if (version < 1 || version > 3)
    in.refuse(fmt::format("attribute of unknown version {}", version));
  const bool named_type = in.u8() != 0 && version > 1;
  const std::uint64_t name_size = in.u16(), type_size = in.u16(), space_size = in.u16();
  if (version == 3) in.skip(1);  // character set of the name
  std::string name(hdf5_text(in.take(padded(name_size, version))));
  return {std::move(name), named_type, padded(type_size, version), padded(space_size, version), in};
}

// Reads the texts of attributes (section IV.A.2.m). Those of variable length are objects in global
// heaps (section III.E), each of which is read once.
class Attributes {
 public:
  explicit Attributes(Hdf5Bytes& file) : file_(file) {}

  // The texts of an attribute, joined by line feeds; a text ends at its first NUL. Nothing for
  // attributes that are not text.
  std::optional<std::string> texts(const Hdf5Message& message) {
    AttributeHead head = read_head(message);
    if (message.shared || head.named_type) head.rest.refuse("attribute of a named type");
    const Hdf5Type type = read_datatype(head.rest.part(head.type_size, "attribute's type"));
    const auto dims = read_dataspace(head.rest.part(head.space_size, "attribute's extent"));
    const auto count = dims ? static_cast<std::size_t>(*checked_count(*dims)) : 0;
    const bool fixed = type.kind == Hdf5Type::Kind::FixedText;
    if (!fixed && type.kind != Hdf5Type::Kind::VariableText) return std::nullopt;
    const std::size_t each = fixed ? type.size : 8 + file_.address_width();
    if (each == 0 || count > head.rest.left() / each) {
      file_.refuse(fmt::format("attribute {}: {} texts of {} bytes are more than its {} bytes",
                               head.name, count, each, head.rest.left()));
    }
    std::string joined;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) joined += '\n';
      joined += fixed ? hdf5_text(head.rest.take(each)) : variable_text(head.rest, head.name);
    }
    return joined;
  }

 private:
  using Collection = std::map<std::uint32_t, std::span<const std::byte>>;

  std::string_view variable_text(Hdf5Cursor& values, const std::string& name) {
    const std::uint32_t size = values.u32();
    const std::uint64_t heap = values.address_field();
    const std::uint32_t number = values.u32();
    if (size == 0) return "";
    const auto found = object(heap, number);
    if (size > found.size()) {
      file_.refuse(fmt::format("attribute {}: a text of {} bytes in an object of {}", name, size,
                               found.size()));
    }
    const auto text = hdf5_text(found.first(size));
    file_.charge(text.size());
    return text;
  }

  std::span<const std::byte> object(std::uint64_t collection, std::uint32_t number) {
    auto found = collections_.find(collection);
    if (found == collections_.end())
      found = collections_.emplace(collection, read_collection(collection)).first;
    const auto object = found->second.find(number);
    if (object == found->second.end()) {
      file_.refuse(fmt::format("the global heap at byte {} has no object {}", collection, number));
    }
    return object->second;
  }

  Collection read_collection(std::uint64_t address) {
    const std::uint64_t head = 8 + file_.length_width();
    Hdf5Cursor start = file_.open(address, head, "global heap");
    start.expect("GCOL");
    if (const unsigned version = start.u8(); version != 1)
      start.refuse(fmt::format("version {} is unknown", version));
    start.skip(3);
    const std::uint64_t size = start.length();
    if (size < head) start.refuse("is smaller than its own head");
    Hdf5Cursor in = file_.open(address + head, size - head, "global heap");
    Collection objects;
    while (in.left() >= head) {
      const std::uint32_t number = in.u16();
      in.skip(6);  // references, reserved
      const std::uint64_t length = in.length();
      if (number == 0) break;  // the free space at the end
      objects.emplace(number, in.take(length));
      in.skip(std::min<std::uint64_t>((8 - length % 8) % 8, in.left()));
    }
    return objects;
  }

  Hdf5Bytes& file_;
  std::map<std::uint64_t, Collection> collections_;
};

class Walker {
 public:
  Walker(std::span<const std::byte> file, const std::string& name)
      : file_(file, name), attributes_(file_) {}

  TensorFile read() {
    const std::uint64_t root = read_superblock(file_);
    visited_.insert(root);
    const auto messages = read_messages(file_, root);
    if (!is_group(messages)) file_.refuse("the root is not a group");
    read_group(messages, "", 0);
    return std::move(out_);
  }

 private:
  void read_group(const std::vector<Hdf5Message>& messages, const std::string& path, int depth) {
    if (depth > kMaxDepth) file_.refuse(fmt::format("more than {} groups deep", kMaxDepth));
    for (const Hdf5Message& message : messages) {
      if (message.type == Hdf5MessageType::Attribute) read_entry(message, path);
      if (message.type == Hdf5MessageType::AttributeInfo) check_attributes(message.body);
    }
    for (const Hdf5Link& link : read_links(file_, messages)) {
      const std::string below = path.empty() ? link.name : path + "/" + link.name;
      file_.charge(below.size());
      file_.enter(below);
      read_link(link, below, depth);
    }
  }

  void read_link(const Hdf5Link& link, const std::string& path, int depth) {
    if (!link.hard)
      file_.refuse("is a soft or external link; only plain groups and data sets are read");
    if (!visited_.insert(link.address).second)
      file_.refuse("leads to an object that has another place in the file");
    const auto messages = read_messages(file_, link.address);
    if (is_group(messages)) return read_group(messages, path, depth + 1);
    if (auto tensor = read_dataset(file_, messages)) out_.tensors.push_back(std::move(*tensor));
  }

  void read_entry(const Hdf5Message& message, const std::string& path) {
    const std::string name = read_head(message).name;
    if (std::ranges::find(kAttributes, name) == kAttributes.end()) return;
    file_.charge(path.size());
    if (auto texts = attributes_.texts(message))
      out_.metadata[fmt::format("{}@{}", path, name)] = std::move(*texts);
  }

  void check_attributes(Hdf5Cursor in) {
    in.skip(1);                          // version
    if ((in.u8() & 1) != 0) in.skip(2);  // greatest creation order
    if (in.address_field() != Hdf5Cursor::kUndefined) {
      file_.refuse(
          "keeps its attributes in a fractal heap (dense storage), which is not read; write the "
          "file with h5py's or Keras' default settings");
    }
  }

  Hdf5Bytes file_;
  Attributes attributes_;
  TensorFile out_;
  std::set<std::uint64_t> visited_;  // objects, by address of their headers
};

}  // namespace

TensorFile parse_hdf5(std::span<const std::byte> file, const std::string& name_for_errors) {
  return Walker(file, name_for_errors).read();
}

}  // namespace dfengine::weights
