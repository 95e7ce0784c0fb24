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

constexpr std::string_view kSize = "torch.Size";
constexpr std::string_view kOrderedDict = "collections.OrderedDict";
// Calls that make a tensor from storage, offset, shape and strides, and calls that only wrap one.
// One with attributes, or of a class of its own, is made by kTyped(call, class, arguments, state).
constexpr std::string_view kTensors[] = {"torch._utils._rebuild_tensor_v2",
                                         "torch._utils._rebuild_tensor"};
constexpr std::string_view kTyped = "torch._tensor._rebuild_from_type_v2";
constexpr std::string_view kWrapped[] = {"torch._utils._rebuild_parameter",
                                         "torch._utils._rebuild_parameter_with_state"};

struct StorageRow {
  std::string_view type;  // behind "torch." or "torch.cuda."
  std::size_t size;
  std::optional<DType> dtype;
};
constexpr StorageRow kStorages[] = {
    {"DoubleStorage", 8, DType::F64}, {"FloatStorage", 4, DType::F32},
    {"HalfStorage", 2, DType::F16},   {"BFloat16Storage", 2, DType::BF16},
    {"LongStorage", 8, DType::I64},   {"IntStorage", 4, DType::I32},
    {"ShortStorage", 2, DType::I16},  {"CharStorage", 1, DType::I8},
    {"ByteStorage", 1, DType::U8},    {"BoolStorage", 1, DType::Bool},
    {"ComplexFloatStorage", 8, {}},   {"ComplexDoubleStorage", 16, {}},
    {"QInt8Storage", 1, {}},          {"QUInt8Storage", 1, {}},
    {"QInt32Storage", 4, {}},         {"storage.UntypedStorage", 1, {}}};

constexpr std::size_t kMaxTensors = 65536;
constexpr std::size_t kMaxRank = 64;
constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxNames = 1 << 26;  // bytes; one long name may stand before many others
// Tensors may share storages (tied weights); together they may take this many times what the
// storages hold.
constexpr std::size_t kMaxSharing = 8;
constexpr std::size_t kAlwaysAllowed = 1 << 20;

struct Entry {
  std::string name;
  PickleRef value;
};

class Reader {
 public:
  Reader(const Pickle& pickle, const StorageLookup& lookup, const std::string& file)
      : pickle_(pickle), lookup_(lookup), file_(file) {}

  TensorFile run() {
    walk({"", pickle_.root}, 0);
    if (entries_.empty())
      throw ModelFileError(file_ + ": PyTorch file: holds no tensor under a name");
    check_names();
    TensorFile out;
    for (const Entry& entry : entries_)
      if (auto read = tensor(entry)) out.tensors.push_back(std::move(*read));
    return out;
  }

 private:
  [[noreturn]] void fail(std::string_view tensor, const std::string& cause) const {
    throw ModelFileError(
        fmt::format("{}: PyTorch file: tensor \"{}\": {}", file_, printable(tensor), cause));
  }

  // Structure -------------------------------------------------------------------------------------
  // What an object would be made by; "" for other values.
  std::string_view maker_of(PickleRef ref) const {
    const PickleValue& value = pickle_[ref];
    if (value.kind != PickleKind::Object) return "";
    const PickleValue& maker = pickle_[value.items[0]];
    return maker.kind == PickleKind::Global ? maker.text : "";
  }

  const std::vector<PickleRef>& arguments(PickleRef ref) const {
    return pickle_[pickle_[ref].items[1]].items;
  }

  static bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
  }

  // Storage, offset, shape, strides and what else a tensor is made from; null for other values.
  const std::vector<PickleRef>* tensor_arguments(PickleRef ref) const {
    const std::string_view maker = maker_of(ref);
    if (is_one_of(kTensors, maker)) return &arguments(ref);
    if (maker != kTyped || arguments(ref).size() < 3) return nullptr;
    const PickleValue& call = pickle_[arguments(ref)[0]];
    if (call.kind != PickleKind::Global || !is_one_of(kTensors, call.text)) return nullptr;
    return &pickle_[arguments(ref)[2]].items;
  }

  // Whether tensors may lie below the value.
  bool may_hold(PickleRef ref) const { return !pickle_[ref].items.empty(); }

  void walk(const Entry& at, int depth) {
    if (depth > kMaxDepth) return;
    if (tensor_arguments(at.value) != nullptr || is_one_of(kWrapped, maker_of(at.value))) {
      entries_.push_back(at);
      return;
    }
    if (!walked_.insert(at.value).second) return;
    const PickleValue& value = pickle_[at.value];
    switch (value.kind) {
      case PickleKind::Dict:
        return walk_pairs(at, value.items, depth);
      case PickleKind::List:
      case PickleKind::Tuple:
        for (std::size_t i = 0; i < value.items.size(); ++i)
          if (may_hold(value.items[i]))
            walk(below(at, fmt::to_string(i), value.items[i]), depth + 1);
        return;
      case PickleKind::Object:
        return walk_object(at, depth);
      default:
        return;
    }
  }

  void walk_pairs(const Entry& at, std::span<const PickleRef> pairs, int depth) {
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2)
      if (pickle_[pairs[i]].kind == PickleKind::Text && may_hold(pairs[i + 1]))
        walk(below(at, pickle_[pairs[i]].text, pairs[i + 1]), depth + 1);
  }

  void walk_object(const Entry& at, int depth) {
    const PickleValue& object = pickle_[at.value];
    // An OrderedDict as Python 2 wrote it is made from a list of pairs.
    if (maker_of(at.value) == kOrderedDict && arguments(at.value).size() == 1)
      for (const PickleRef pair : pickle_[arguments(at.value)[0]].items)
        if (pickle_[pair].items.size() == 2) walk_pairs(at, pickle_[pair].items, depth);
    walk_pairs(at, std::span(object.items).subspan(2), depth);
    if (!object.state) return;
    const PickleValue& state = pickle_[*object.state];
    if (state.kind == PickleKind::Dict) return walk_pairs(at, state.items, depth);
    for (const PickleRef part : state.items)  // of a class with slots: two dicts
      if (pickle_[part].kind == PickleKind::Dict) walk_pairs(at, pickle_[part].items, depth);
  }

  Entry below(const Entry& at, std::string_view key, PickleRef value) {
    constexpr std::string_view kBooks[] = {"_modules", "_parameters", "_buffers"};
    Entry entry{at.name, value};
    if (!is_one_of(kBooks, key)) {
      if (!entry.name.empty()) entry.name += '.';
      entry.name += key;
    }
    named_ += entry.name.size();
    if (named_ > kMaxNames) fail(entry.name, "stands below too long names");
    return entry;
  }

  void check_names() const {
    if (entries_.size() > kMaxTensors) {
      throw ModelFileError(fmt::format("{}: PyTorch file: {} tensors are over the limit of {}",
                                       file_, entries_.size(), kMaxTensors));
    }
    if (const auto twice = repeated(entries_, &Entry::name)) fail(*twice, "appears twice");
  }

  // Tensors ---------------------------------------------------------------------------------------
  struct View {
    PickleRef storage = 0;
    std::int64_t offset = 0;  // in elements
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
  };

  std::vector<std::int64_t> integers(std::string_view name, PickleRef ref) const {
    if (maker_of(ref) == kSize && arguments(ref).size() == 1) ref = arguments(ref)[0];
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
    if (is_one_of(kWrapped, maker_of(ref))) {
      if (arguments(ref).empty() || tensor_arguments(arguments(ref)[0]) == nullptr) {
        fail(entry.name, "is a parameter without a tensor");
      }
      ref = arguments(ref)[0];
    }
    const auto& given = *tensor_arguments(ref);
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

  // Nothing for a kind of tensor that no weights are.
  std::optional<Tensor> tensor(const Entry& entry) {
    View view = view_of(entry);
    const auto storage = torch_storage(pickle_, view.storage, file_);
    if (!storage) fail(entry.name, "has no storage");
    const std::int64_t count = check_view(view, *storage, entry.name);
    if (!storage->dtype) return std::nullopt;
    const std::size_t each = storage->element_size;
    Tensor out{entry.name, *storage->dtype, view.shape, {}};
    account(*storage, static_cast<std::size_t>(count) * each, entry.name);
    if (count > 0)
      out.bytes = gather(lookup_(*storage), each, view.offset, view.shape, view.strides);
    return out;
  }

  const Pickle& pickle_;
  const StorageLookup& lookup_;
  const std::string& file_;
  std::vector<Entry> entries_;
  std::set<PickleRef> walked_;
  std::size_t named_ = 0;
  std::set<std::string_view> storages_;
  std::size_t stored_ = 0;
  std::size_t copied_ = 0;
};

}  // namespace

// ('storage', type, key, location, count); the old format has a sixth part, a view of a storage.
std::optional<TorchStorage> torch_storage(const Pickle& pickle, PickleRef persistent,
                                          const std::string& file) {
  const PickleValue& id = pickle[pickle[persistent].items[0]];
  const auto fail = [&](const std::string& cause) {
    throw ModelFileError(fmt::format("{}: PyTorch file: storage at byte {} of its pickle: {}", file,
                                     pickle[persistent].offset, cause));
  };
  const auto kind = [&](std::size_t i) { return pickle[id.items[i]].kind; };
  if (id.kind != PickleKind::Tuple || id.items.empty() || pickle[id.items[0]].text != "storage")
    return std::nullopt;
  if (id.items.size() < 5 || kind(1) != PickleKind::Global || kind(2) != PickleKind::Text ||
      kind(4) != PickleKind::Int) {
    fail("is not described by type, key and size; save model.state_dict() alone");
  }
  if (id.items.size() > 5 && kind(5) != PickleKind::None) {
    fail("is a view of another storage; save the file again with a newer PyTorch");
  }
  std::string_view type = pickle[id.items[1]].text;
  for (const std::string_view prefix : {"torch.", "cuda."})
    if (type.starts_with(prefix)) type.remove_prefix(prefix.size());
  const auto row = std::ranges::find(kStorages, type, &StorageRow::type);
  if (row == std::end(kStorages)) fail(fmt::format("{} is no type of storage", printable(type)));
  constexpr std::int64_t kMaxCount = std::int64_t{1} << 40;
  const std::int64_t count = pickle[id.items[4]].number;
  if (count < 0 || count > kMaxCount) fail(fmt::format("{} elements make no sense", count));
  return TorchStorage{pickle[id.items[2]].text, row->dtype, row->size, count};
}

TensorFile read_state_dict(const Pickle& pickle, const StorageLookup& lookup,
                           const std::string& file) {
  return Reader(pickle, lookup, file).run();
}

}  // namespace dfengine::weights
