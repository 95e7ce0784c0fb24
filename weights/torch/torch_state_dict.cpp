// What torch._utils does with the arguments in the pickle, on inert values.
#include "weights/torch/torch_state_dict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "kernels/base/error.h"

namespace dfengine::weights {
namespace {

constexpr std::string_view kTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kSize = "torch.Size";
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

constexpr std::array<std::string_view, 16> kGlobals = {
    kTensor, kParameter, kSize, kOrderedDict, "torch.DoubleStorage", "torch.FloatStorage",
    "torch.HalfStorage", "torch.BFloat16Storage", "torch.LongStorage", "torch.IntStorage",
    "torch.ShortStorage", "torch.CharStorage", "torch.ByteStorage", "torch.BoolStorage",
    // Training scripts (torchvision's, timm's) keep these beside the state dict.
    "argparse.Namespace", "collections.Counter"};

constexpr std::pair<std::string_view, DType> kStorages[] = {
    {"torch.DoubleStorage", DType::F64}, {"torch.FloatStorage", DType::F32},
    {"torch.HalfStorage", DType::F16},   {"torch.BFloat16Storage", DType::BF16},
    {"torch.LongStorage", DType::I64},   {"torch.IntStorage", DType::I32},
    {"torch.ShortStorage", DType::I16},  {"torch.CharStorage", DType::I8},
    {"torch.ByteStorage", DType::U8},    {"torch.BoolStorage", DType::Bool}};

// The first that is there is taken, so that trained weights come before their moving average.
constexpr std::array<std::string_view, 4> kWrappers = {"state_dict", "model", "state_dict_ema",
                                                       "model_ema"};

constexpr std::size_t kMaxTensors = 65536;
constexpr std::size_t kMaxRank = 64;
// Tensors may share storages (tied weights); together they may take this many times what the
// storages hold.
constexpr std::size_t kMaxSharing = 8;
constexpr std::size_t kAlwaysAllowed = 1 << 20;

struct Entry {
  std::string_view name;
  PickleRef value;
};

class Reader {
 public:
  Reader(const Pickle& pickle, const StorageLookup& lookup, const std::string& file)
      : pickle_(pickle), lookup_(lookup), file_(file) {}

  TensorFile run() {
    TensorFile out;
    std::vector<Entry> entries = tensors_in(pickle_.root);
    for (const std::string_view wrapper : kWrappers) {
      if (!entries.empty()) break;
      entries = tensors_in(entry_of(pickle_.root, wrapper));
      if (entries.empty()) continue;
      out.metadata["source_entry"] = wrapper;
    }
    if (entries.empty()) {
      throw ModelFileError(file_ +
                           ": PyTorch file: holds no state dict: neither tensors by name nor a "
                           "dict of them under state_dict or model");
    }
    strip_module(entries);
    check_names(entries);
    for (const Entry& entry : entries) out.tensors.push_back(tensor(entry));
    return out;
  }

 private:
  [[noreturn]] void fail(std::string_view tensor, const std::string& cause) const {
    throw ModelFileError(
        fmt::format("{}: PyTorch file: tensor \"{}\": {}", file_, printable(tensor), cause));
  }

  // Structure -------------------------------------------------------------------------------------
  bool calls(PickleRef ref, std::string_view global) const {
    const PickleValue& value = pickle_[ref];
    return value.kind == PickleKind::Object && pickle_[value.items[0]].text == global;
  }

  const std::vector<PickleRef>& arguments(PickleRef ref) const {
    return pickle_[pickle_[ref].items[1]].items;
  }

  bool is_tensor(PickleRef ref) const { return calls(ref, kTensor) || calls(ref, kParameter); }

  // Names and values of a dict, of an OrderedDict, and of an OrderedDict as Python 2 wrote it (made
  // from a list of pairs). Entries whose key is no text are left out.
  std::vector<Entry> entries_of(PickleRef ref) const {
    std::vector<Entry> entries;
    const auto add = [&](PickleRef key, PickleRef value) {
      if (pickle_[key].kind == PickleKind::Text) entries.push_back({pickle_[key].text, value});
    };
    const PickleValue& value = pickle_[ref];
    const bool ordered = calls(ref, kOrderedDict);
    if (value.kind != PickleKind::Dict && !ordered) return entries;
    if (ordered && arguments(ref).size() == 1) {
      for (const PickleRef pair : pickle_[arguments(ref)[0]].items) {
        const auto& items = pickle_[pair].items;
        if (items.size() == 2) add(items[0], items[1]);
      }
    }
    for (std::size_t i = ordered ? 2 : 0; i + 1 < value.items.size(); i += 2) {
      add(value.items[i], value.items[i + 1]);
    }
    return entries;
  }

  std::vector<Entry> tensors_in(PickleRef ref) const {
    std::vector<Entry> entries = entries_of(ref);
    std::erase_if(entries, [&](const Entry& entry) { return !is_tensor(entry.value); });
    return entries;
  }

  // The value of that name. Without one it is the dict itself, which holds no tensor.
  PickleRef entry_of(PickleRef dict, std::string_view name) const {
    for (const Entry& entry : entries_of(dict)) {
      if (entry.name == name) return entry.value;
    }
    return dict;
  }

  static void strip_module(std::vector<Entry>& entries) {
    constexpr std::string_view kPrefix = "module.";
    // torch.optim.swa_utils.AveragedModel keeps a counter beside its module.
    std::erase_if(entries, [](const Entry& entry) { return entry.name == "n_averaged"; });
    const auto prefixed = [&](const Entry& entry) { return entry.name.starts_with(kPrefix); };
    if (!std::ranges::all_of(entries, prefixed)) return;
    for (Entry& entry : entries) entry.name.remove_prefix(kPrefix.size());
  }

  void check_names(const std::vector<Entry>& entries) const {
    if (entries.size() > kMaxTensors) {
      throw ModelFileError(fmt::format("{}: PyTorch file: {} tensors are over the limit of {}",
                                       file_, entries.size(), kMaxTensors));
    }
    if (const auto twice = repeated(entries, &Entry::name)) fail(*twice, "appears twice");
  }

  // Tensors ---------------------------------------------------------------------------------------
  struct View {
    PickleRef storage = 0;
    std::int64_t offset = 0;  // in elements
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
  };

  std::vector<std::int64_t> integers(std::string_view name, PickleRef ref) const {
    if (calls(ref, kSize) && arguments(ref).size() == 1) ref = arguments(ref)[0];
    const PickleValue& tuple = pickle_[ref];
    if (tuple.kind != PickleKind::Tuple || tuple.items.size() > kMaxRank) {
      fail(name, fmt::format("its shape or strides are no tuple of at most {} numbers", kMaxRank));
    }
    std::vector<std::int64_t> numbers;
    for (const PickleRef item : tuple.items) {
      if (pickle_[item].kind != PickleKind::Int || pickle_[item].number < 0) {
        fail(name, "its shape or strides hold what is no size");
      }
      numbers.push_back(pickle_[item].number);
    }
    return numbers;
  }

  View view_of(const Entry& entry) const {
    PickleRef ref = entry.value;
    if (calls(ref, kParameter)) {
      if (arguments(ref).empty() || !calls(arguments(ref)[0], kTensor)) {
        fail(entry.name, "is a parameter without a tensor");
      }
      ref = arguments(ref)[0];
    }
    // storage, offset, shape, strides, requires_grad, backward_hooks, metadata
    const auto& given = arguments(ref);
    if (given.size() < 4 || pickle_[given[0]].kind != PickleKind::Persistent ||
        pickle_[given[1]].kind != PickleKind::Int) {
      fail(entry.name, "is not made of storage, offset, shape and strides");
    }
    return {given[0], pickle_[given[1]].number, integers(entry.name, given[2]),
            integers(entry.name, given[3])};
  }

  // Every element lies in the storage, and none is there more often than the storage is long.
  std::int64_t check_view(const View& view, const TorchStorage& storage,
                          std::string_view name) const {
    if (view.strides.size() != view.shape.size()) {
      fail(name,
           fmt::format("has {} dimensions but {} strides", view.shape.size(), view.strides.size()));
    }
    const auto count = checked_count(view.shape);
    bool fits =
        count && *count <= storage.count && view.offset >= 0 && view.offset <= storage.count;
    std::int64_t left = storage.count - 1 - view.offset;  // elements after the first
    for (std::size_t i = 0; fits && *count > 0 && i < view.shape.size(); ++i) {
      const std::int64_t steps = view.shape[i] - 1;
      fits = steps == 0 || view.strides[i] <= left / steps;
      if (fits) left -= steps * view.strides[i];
    }
    if (!fits || (*count > 0 && left < 0)) {
      fail(name, fmt::format("shape [{}], strides [{}], offset {} reach outside its storage of {} "
                             "elements",
                             fmt::join(view.shape, ", "), fmt::join(view.strides, ", "),
                             view.offset, storage.count));
    }
    return *count;
  }

  void account(const TorchStorage& storage, std::size_t bytes, std::string_view name) {
    if (storages_.insert(storage.key).second) stored_ += storage.size();
    copied_ += bytes;
    if (copied_ > kAlwaysAllowed && copied_ / kMaxSharing > stored_) {
      fail(name,
           fmt::format("the tensors up to here take {} bytes of storages of {}", copied_, stored_));
    }
  }

  Tensor tensor(const Entry& entry) {
    View view = view_of(entry);
    const TorchStorage storage = torch_storage(pickle_, view.storage, file_);
    const std::int64_t count = check_view(view, storage, entry.name);
    const std::size_t each = dtype_size(storage.dtype);
    Tensor out{std::string(entry.name), storage.dtype, view.shape, {}};
    account(storage, static_cast<std::size_t>(count) * each, entry.name);
    if (count > 0)
      out.bytes = gather(lookup_(storage), each, view.offset, view.shape, view.strides);
    return out;
  }

  const Pickle& pickle_;
  const StorageLookup& lookup_;
  const std::string& file_;
  std::set<std::string_view> storages_;
  std::size_t stored_ = 0;
  std::size_t copied_ = 0;
};

}  // namespace

std::span<const std::string_view> torch_globals() {
  return kGlobals;
}

// ('storage', type, key, location, count); the old format has a sixth part, a view of a storage.
TorchStorage torch_storage(const Pickle& pickle, PickleRef persistent, const std::string& file) {
  const PickleValue& id = pickle[pickle[persistent].items[0]];
  const auto fail = [&](const std::string& cause) {
    throw ModelFileError(fmt::format("{}: PyTorch file: storage at byte {} of its pickle: {}", file,
                                     pickle[persistent].offset, cause));
  };
  const auto kind = [&](std::size_t i) { return pickle[id.items[i]].kind; };
  if (id.kind != PickleKind::Tuple || id.items.size() < 5 || kind(0) != PickleKind::Text ||
      pickle[id.items[0]].text != "storage" || kind(1) != PickleKind::Global ||
      kind(2) != PickleKind::Text || kind(4) != PickleKind::Int) {
    fail("is not described by type, key and size; save model.state_dict() alone");
  }
  if (id.items.size() > 5 && kind(5) != PickleKind::None) {
    fail("is a view of another storage; save the file again with a newer PyTorch");
  }
  const std::string_view type = pickle[id.items[1]].text;
  const auto row = std::ranges::find(kStorages, type, [](const auto& r) { return r.first; });
  if (row == std::end(kStorages)) fail(fmt::format("{} is no type of storage", type));
  const TorchStorage storage{pickle[id.items[2]].text, row->second, pickle[id.items[4]].number};
  constexpr std::int64_t kMaxCount = std::int64_t{1} << 40;
  if (storage.count < 0 || storage.count > kMaxCount) {
    fail(fmt::format("{} elements make no sense", storage.count));
  }
  return storage;
}

TensorFile read_state_dict(const Pickle& pickle, const StorageLookup& lookup,
                           const std::string& file) {
  return Reader(pickle, lookup, file).run();
}

}  // namespace dfengine::weights
