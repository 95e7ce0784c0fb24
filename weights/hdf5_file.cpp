// Walks an HDF5 file in memory. libhdf5 trusts sizes it finds in a file, so every size is compared
// with the file before the library may act on it, and objects are opened by address: names and
// links cannot lead anywhere else.
#include "weights/hdf5_file.h"

#include <fmt/format.h>

#include "kernels/error.h"

#ifdef DFENGINE_HDF5
#define H5_USE_110_API  // the calls of 1.10 in later versions too
#include <fmt/ranges.h>
#include <hdf5.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace dfengine::weights {
namespace {

// Keras nests a few models; a file needs no more.
constexpr int kMaxDepth = 32;
constexpr int kMaxRank = 8;
// zlib's documentation: no input of deflate grows by more than 1032:1.
constexpr std::uint64_t kMaxInflation = 1032;
// An entry of a group takes more than this many bytes of the file.
constexpr std::size_t kLeastLinkSize = 8;
// Object headers hold 64 KiB; denser storage of Keras' lists needs no more than this.
constexpr std::size_t kMaxAttributeSize = std::size_t{16} << 20;
// MobileNetV2's own is below 200 KB.
constexpr std::size_t kMaxConfigSize = std::size_t{1} << 20;

constexpr std::array<const char*, 5> kAttributes = {"layer_names", "weight_names", "backend",
                                                    "keras_version", "model_config"};

// Owner of an identifier of the library.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// The file without its global heaps: they hold texts of variable length and virtual data sets,
// which are not read, and a damaged one sends libhdf5 1.10 into an endless loop.
std::vector<std::byte> without_global_heaps(std::span<const std::byte> file) {
  constexpr std::string_view kStart("GCOL\x01\0\0\0", 8);  // signature, version, reserved
  std::vector<std::byte> copy(file.begin(), file.end());
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  for (std::size_t at = text.find(kStart); at != text.npos; at = text.find(kStart, at + 1))
    copy[at] = std::byte{0};
  return copy;
}

// Keeps the library from printing its errors while it lives.
class QuietErrors {
 public:
  QuietErrors() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
  ~QuietErrors() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

// The library's own words for its last failure: the innermost of its error stack.
std::string library_cause() {
  std::string cause;
  const auto take = [](unsigned n, const H5E_error2_t* error, void* out) -> herr_t {
    if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &cause);
  return cause.empty() ? "no cause given" : printable(cause);
}

struct Link {
  std::string name;
  H5L_type_t type;
  haddr_t address;
};

struct Links {
  std::vector<Link> list;
  std::size_t limit;
};

// Called from C: nothing may be thrown through it.
herr_t collect_link(hid_t, const char* name, const H5L_info_t* info, void* data) noexcept {
  auto& links = *static_cast<Links*>(data);
  if (links.list.size() >= links.limit) return -1;
  const haddr_t address = info->type == H5L_TYPE_HARD ? info->u.address : HADDR_UNDEF;
  try {
    links.list.push_back({name, info->type, address});
  } catch (const std::exception&) {
    return -1;
  }
  return 0;
}

// The little-endian memory type of floats of that size, or an invalid identifier.
hid_t memory_float(std::size_t size) {
  if (size == 8) return H5Tcopy(H5T_IEEE_F64LE);
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  if (size == 4 || type < 0) return type;
  // IEEE 754 binary16: sign bit 15, exponent bits 10 to 14 with bias 15, fraction bits 0 to 9.
  if (size == 2 && H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type, 2) >= 0 &&
      H5Tset_ebias(type, 15) >= 0)
    return type;
  H5Tclose(type);
  return H5I_INVALID_HID;
}

class Reader {
 public:
  Reader(std::span<const std::byte> file, const std::string& name) : file_(file), name_(name) {}

  TensorFile read() {
    const Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    constexpr std::size_t kIncrement = 64 << 10;                 // never used: nothing is written
    std::vector<std::byte> image = without_global_heaps(file_);  // the library copies it
    if (!access || H5Pset_fapl_core(access.get(), kIncrement, false) < 0 ||
        H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG) < 0 ||
        H5Pset_file_image(access.get(), image.data(), image.size()) < 0)
      refuse("", fmt::format("cannot prepare to read: {}", library_cause()));
    // Files open at the same time under one name would be taken for one file.
    const std::string unique = fmt::format("dfengine-{}", fmt::ptr(this));
    const Id file(H5Fopen(unique.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    if (!file) refuse("", fmt::format("damaged or cut: {}", library_cause()));
    const Id root(H5Gopen2(file.get(), "/", H5P_DEFAULT), H5Gclose);
    if (!root) refuse("", fmt::format("cannot open the root group: {}", library_cause()));
    read_group(root.get(), "", 0);
    const auto config = out_.metadata.find("@model_config");
    if (config != out_.metadata.end() && config->second.empty()) config->second = find_config();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& path, const std::string& cause) const {
    throw ModelFileError(fmt::format("{}: HDF5: \"/{}\": {}", name_, printable(path), cause));
  }

  void read_group(hid_t group, const std::string& path, int depth) {
    if (depth > kMaxDepth) refuse(path, fmt::format("more than {} groups deep", kMaxDepth));
    for (const char* attribute : kAttributes) read_attribute(group, path, attribute);
    Links links{{}, file_.size() / kLeastLinkSize};
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, collect_link, &links) < 0) {
      refuse(path, links.list.size() >= links.limit
                       ? "has more entries than the file has room for"
                       : fmt::format("cannot list the group: {}", library_cause()));
    }
    std::ranges::sort(links.list, {}, &Link::name);
    for (const Link& link : links.list)
      read_link(group, path.empty() ? link.name : path + "/" + link.name, link, depth);
  }

  void read_link(hid_t group, const std::string& path, const Link& link, int depth) {
    if (link.type != H5L_TYPE_HARD)
      refuse(path, "is a soft or external link; only plain groups and data sets are read");
    if (!visited_.insert(link.address).second)
      refuse(path, "leads to an object that has another place in the file");
    const Id object(H5Oopen_by_addr(group, link.address), H5Oclose);
    if (!object) refuse(path, fmt::format("cannot open: {}", library_cause()));
    switch (H5Iget_type(object.get())) {
      case H5I_GROUP:
        return read_group(object.get(), path, depth + 1);
      case H5I_DATASET:
        return read_data_set(object.get(), path);
      default:
        refuse(path, "is neither a group nor a data set");
    }
  }

  void read_attribute(hid_t group, const std::string& path, const char* name) {
    const htri_t there = H5Aexists(group, name);
    if (there < 0) refuse(path, fmt::format("cannot list attributes: {}", library_cause()));
    if (there == 0) return;
    const Id attribute(H5Aopen(group, name, H5P_DEFAULT), H5Aclose);
    const Id type(attribute ? H5Aget_type(attribute.get()) : H5I_INVALID_HID, H5Tclose);
    const Id space(attribute ? H5Aget_space(attribute.get()) : H5I_INVALID_HID, H5Sclose);
    if (!type || !space) fail_attribute(path, name, library_cause());
    if (H5Tget_class(type.get()) != H5T_STRING) return;  // an empty list has some number type
    std::string& text = out_.metadata[fmt::format("{}@{}", path, name)];
    if (H5Tis_variable_str(type.get()) != 0) return;
    const std::size_t each = H5Tget_size(type.get());
    const hssize_t count = H5Sget_simple_extent_npoints(space.get());
    const std::size_t limit = std::min(file_.size(), kMaxAttributeSize);
    if (each == 0 || count < 0 || static_cast<std::size_t>(count) > limit / each)
      fail_attribute(path, name, "is larger than the file");
    std::string raw(each * static_cast<std::size_t>(count), '\0');
    if (!raw.empty() && H5Aread(attribute.get(), type.get(), raw.data()) < 0)
      fail_attribute(path, name, library_cause());
    for (std::size_t at = 0; at < raw.size(); at += each) {
      const std::string_view entry = std::string_view(raw).substr(at, each);
      if (at > 0) text += '\n';
      text += entry.substr(0, entry.find('\0'));
    }
  }

  // Keras' model_config, a text of variable length, found in the file by how it begins: the library
  // would allocate whatever length the file claims. What stands behind it is cut roughly.
  std::string find_config() const {
    const std::string_view text(reinterpret_cast<const char*>(file_.data()), file_.size());
    for (const std::string_view start : {"{\"class_name\": ", "{\"module\": "}) {
      const std::size_t at = text.find(start);
      if (at == std::string_view::npos) continue;
      const std::string_view found = text.substr(at, kMaxConfigSize);
      return std::string(found.substr(0, found.find('\0')));
    }
    return "";
  }

  [[noreturn]] void fail_attribute(const std::string& path, const char* name,
                                   const std::string& cause) const {
    refuse(path, fmt::format("attribute {}: {}", name, cause));
  }

  void read_data_set(hid_t set, const std::string& path) {
    const Id type(H5Dget_type(set), H5Tclose);
    const Id plan(H5Dget_create_plist(set), H5Pclose);
    if (!type || !plan) refuse(path, fmt::format("cannot open: {}", library_cause()));
    if (H5Tget_class(type.get()) != H5T_FLOAT) return;
    const std::size_t each = H5Tget_size(type.get());
    const Id memory(memory_float(each), H5Tclose);
    if (!memory || !is_ieee(type.get(), memory.get()))
      refuse(path, "is not of IEEE floats of 16, 32 or 64 bits");
    const std::uint64_t growth = check_plan(plan.get(), path);

    Tensor tensor{path, each == 8 ? DType::F64 : each == 4 ? DType::F32 : DType::F16, {}, {}};
    tensor.shape = shape_of(set, path);
    tensor.bytes.resize(checked_size(set, plan.get(), tensor.shape, each, growth, path));
    if (!tensor.bytes.empty() &&
        H5Dread(set, memory.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.bytes.data()) < 0)
      refuse(path, fmt::format("cannot read the data: {}", library_cause()));
    out_.tensors.push_back(std::move(tensor));
  }

  // The type is the memory type but for the order of its bytes.
  static bool is_ieee(hid_t type, hid_t memory) {
    const Id ordered(H5Tcopy(type), H5Tclose);
    return ordered && H5Tset_order(ordered.get(), H5T_ORDER_LE) >= 0 &&
           H5Tequal(ordered.get(), memory) > 0;
  }

  // The data lie in the file and no unknown filter is on them. Returns by how much they may grow.
  std::uint64_t check_plan(hid_t plan, const std::string& path) const {
    const H5D_layout_t layout = H5Pget_layout(plan);
    if (layout != H5D_CONTIGUOUS && layout != H5D_COMPACT && layout != H5D_CHUNKED)
      refuse(path, "has a layout (virtual or unknown) that is not read");
    if (H5Pget_external_count(plan) != 0) refuse(path, "keeps its data in another file");
    const int filters = H5Pget_nfilters(plan);
    if (filters < 0) refuse(path, library_cause());
    std::uint64_t growth = 1;
    for (int i = 0; i < filters; ++i) {
      std::size_t values = 0;
      unsigned flags = 0, config = 0;
      const H5Z_filter_t filter = H5Pget_filter2(plan, static_cast<unsigned>(i), &flags, &values,
                                                 nullptr, 0, nullptr, &config);
      if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE)
        refuse(path, fmt::format("has filter {}; only gzip and shuffle are read", filter));
      if (filter == H5Z_FILTER_SHUFFLE) continue;
      if (growth != 1) refuse(path, "is compressed twice");
      growth = kMaxInflation;
    }
    return growth;
  }

  std::vector<std::int64_t> shape_of(hid_t set, const std::string& path) const {
    const Id space(H5Dget_space(set), H5Sclose);
    if (!space || H5Sget_simple_extent_type(space.get()) == H5S_NULL)
      refuse(path, "has no data space");
    const int rank = H5Sget_simple_extent_ndims(space.get());
    if (rank < 0 || rank > kMaxRank)
      refuse(path, fmt::format("has {} dimensions, more than {}", rank, kMaxRank));
    std::array<hsize_t, kMaxRank> dims{};
    if (rank > 0 && H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr) < 0)
      refuse(path, library_cause());
    std::vector<std::int64_t> shape;
    for (int i = 0; i < rank; ++i)
      shape.push_back(static_cast<std::int64_t>(dims[static_cast<std::size_t>(i)]));
    return shape;
  }

  // Bytes of the data set in memory, after comparing with what is stored of it.
  std::size_t checked_size(hid_t set, hid_t plan, const std::vector<std::int64_t>& shape,
                           std::size_t each, std::uint64_t growth, const std::string& path) {
    const std::uint64_t stored = H5Dget_storage_size(set);
    if (stored > file_.size() - stored_) {
      refuse(path, fmt::format("claims {} stored bytes where the file has room for {}", stored,
                               file_.size() - stored_));
    }
    stored_ += stored;
    const std::uint64_t most = stored * growth / each;  // no overflow: files are below 2^33 bytes
    const auto fits = [&](std::span<const std::int64_t> dims) {
      const auto count = checked_count(dims);
      return count && static_cast<std::uint64_t>(*count) <= most;
    };
    if (!fits(shape)) {
      refuse(path, fmt::format("{} stored bytes cannot hold [{}] of {} bytes each", stored,
                               fmt::join(shape, ", "), each));
    }
    if (H5Pget_layout(plan) == H5D_CHUNKED) {
      std::array<hsize_t, kMaxRank> dims{};
      const int rank = H5Pget_chunk(plan, kMaxRank, dims.data());
      if (rank < 0 || rank > kMaxRank) refuse(path, library_cause());
      const std::vector<std::int64_t> chunk(dims.begin(), dims.begin() + rank);
      if (checked_count(shape) != 0 && !fits(chunk)) {
        refuse(path, fmt::format("{} stored bytes cannot hold a chunk of [{}]", stored,
                                 fmt::join(chunk, ", ")));
      }
    }
    return static_cast<std::size_t>(*checked_count(shape)) * each;
  }

  std::span<const std::byte> file_;
  const std::string& name_;
  TensorFile out_;
  std::set<haddr_t> visited_;  // objects, by address
  std::uint64_t stored_ = 0;   // bytes that the data sets so far take in the file
};

}  // namespace

TensorFile parse_hdf5(std::span<const std::byte> file, const std::string& name_for_errors) {
  static std::mutex one_at_a_time;  // the library may be built without thread safety
  const std::lock_guard lock(one_at_a_time);
  // After a damaged file the library's own cleaning at exit may print. Has to come first of all.
  H5dont_atexit();
  const QuietErrors quiet;
  return Reader(file, name_for_errors).read();
}

}  // namespace dfengine::weights

#else

namespace dfengine::weights {

TensorFile parse_hdf5(std::span<const std::byte>, const std::string& name_for_errors) {
  throw ModelFileError(fmt::format(
      "{}: is HDF5, as Keras .h5, and this dfengine was built without libhdf5; install it "
      "(Debian: libhdf5-dev) and configure with -DDFENGINE_HDF5=ON",
      name_for_errors));
}

}  // namespace dfengine::weights

#endif
