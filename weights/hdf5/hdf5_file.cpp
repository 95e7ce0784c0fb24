// Walks the groups of an HDF5 file from its superblock (specification, section II.A).
#include "weights/hdf5/hdf5_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "weights/hdf5/hdf5_bytes.h"
#include "weights/hdf5/hdf5_data.h"
#include "weights/hdf5/hdf5_object.h"
#include "weights/hdf5/hdf5_values.h"

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
    const std::string name = Hdf5Attributes::name(message);
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
  Hdf5Attributes attributes_;
  TensorFile out_;
  std::set<std::uint64_t> visited_;  // objects, by address of their headers
};

}  // namespace

TensorFile parse_hdf5(std::span<const std::byte> file, const std::string& name_for_errors) {
  return Walker(file, name_for_errors).read();
}

}  // namespace dfengine::weights
