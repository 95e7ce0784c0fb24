#include "engine/model/model_metadata.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/data/sets/csv.h"
#include "kernels/base/enum_names.h"
#include "kernels/base/error.h"
#include "kernels/base/numbers.h"
#include "weights/tensor_file.h"

namespace dfengine {
namespace {

// Takes entries one by one and reports the first that makes no sense.
class Reader {
 public:
  Reader(const std::map<std::string, std::string>& entries, const std::string& file)
      : rest_(entries), file_(file) {}

  [[noreturn]] void fail(const std::string& key, const std::string& value,
                         const std::string& wanted) const {
    throw ModelFileError(fmt::format("{}: metadata '{}' is '{}', not {}", file_, key,
                                     weights::printable(value), wanted));
  }

  bool text(const std::string& key, std::string& out) {
    const auto found = rest_.find(key);
    if (found == rest_.end()) return false;
    out = found->second;
    rest_.erase(found);
    return true;
  }

  template <class Number>
  void number(const std::string& key, Number& out) {
    std::string value;
    if (!text(key, value)) return;
    const auto number = number_of<Number>(value);
    if (!number) fail(key, value, "a number");
    out = *number;
  }

  void numbers(const std::string& key, std::array<double, 3>& out) {
    std::string value;
    if (!text(key, value)) return;
    const auto numbers = numbers_of(value);
    if (!numbers || numbers->size() != out.size())
      fail(key, value, "three numbers separated by commas");
    std::ranges::copy(*numbers, out.begin());
  }

  void band(const std::string& key, std::optional<UnsureBand>& out) {
    std::string value;
    if (!text(key, value)) return;
    const auto ends = numbers_of(value);
    if (!ends || ends->size() != 2 ||
        !((*ends)[0] >= 0 && (*ends)[0] <= (*ends)[1] && (*ends)[1] <= 1))
      fail(key, value, "two probabilities separated by a comma, the lesser first");
    out = UnsureBand{(*ends)[0], (*ends)[1]};
  }

  template <class Enum, std::size_t N>
  void choice(const std::string& key, const EnumNames<Enum, N>& names, Enum& out) {
    std::string value;
    if (!text(key, value)) return;
    const std::optional<Enum> found = names.find(value);
    if (!found) fail(key, value, "one of " + names.known());
    out = *found;
  }

  // The names of a list; empty where there is no entry.
  std::vector<std::string> list(const std::string& key) {
    std::string value;
    if (!text(key, value) || value.empty()) return {};
    try {
      return parse_csv(value, key).columns;  // the entry is written like a table's first line
    } catch (const DataError&) {
      fail(key, value, "names separated by commas, quoted as in CSV where they hold one");
    }
  }

  // As list, of names that say which class is meant on a terminal and in a table.
  std::vector<std::string> class_names(const std::string& key) {
    const auto entry = rest_.find(key);
    const std::string value = entry == rest_.end() ? "" : entry->second;
    std::vector<std::string> names = list(key);
    const auto is_odd = [](const std::string& name) {
      return name.empty() || std::ranges::any_of(name, [](char c) {
               return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
             });
    };
    if (std::ranges::any_of(names, is_odd)) fail(key, value, "names without control characters");
    return names;
  }

  // "NAME:scale:zero,..."
  Quantizations quantizations(const std::string& key) {
    Quantizations result;
    for (const std::string& item : list(key)) {
      const std::size_t second = item.rfind(':');
      const std::size_t first = second == 0 ? item.npos : item.rfind(':', second - 1);
      if (first >= item.size()) fail(key, item, "entries NAME:scale:zero");
      const auto scale = number_of<float>(item.substr(first + 1, second - first - 1));
      const auto zero = number_of<std::int32_t>(item.substr(second + 1));
      if (!scale || !zero) fail(key, item, "entries NAME:scale:zero");
      result[item.substr(0, first)] = {*scale, *zero};
    }
    return result;
  }

  std::map<std::string, std::string> rest() { return std::move(rest_); }

 private:
  std::map<std::string, std::string> rest_;
  const std::string& file_;
};

constexpr auto kPaddingNames =
    names_for<Padding>("padding", {{"torch", Padding::Torch}, {"tf_same", Padding::TfSame}});
// More exact than the names on the command line.
constexpr auto kResizeNames =
    names_for<ResizeRule>("resize", {{"bilinear_antialias", ResizeRule::Bilinear},
                                     {"bicubic_antialias", ResizeRule::Bicubic},
                                     {"nearest", ResizeRule::Nearest}});

}  // namespace

bool is_bn_folded(const ModelMetadata& model) {
  const auto note = model.notes.find(kBnFolded);
  return note != model.notes.end() && note->second == "yes";
}

ModelMetadata read_metadata(const std::map<std::string, std::string>& entries,
                            const NetworkConfig& of_tensors, const std::string& name_for_errors) {
  Reader read(entries, name_for_errors);
  ModelMetadata m{.config = of_tensors};
  read.text("arch", m.config.architecture);
  read.number("width_mult", m.config.width);
  read.number("input_size", m.config.input_size);
  read.number("stem_stride", m.config.stem_stride);
  read.number("bn_eps", m.config.bn_eps);
  read.number("bn_momentum", m.config.bn_momentum);
  read.choice("pad_mode", kPaddingNames, m.config.padding);
  read.numbers("mean", m.config.mean);
  read.numbers("std", m.config.std_dev);
  read.choice("head", enum_names<Head>, m.config.head);
  read.number("dropout", m.config.dropout);
  read.number("members", m.config.members);
  m.config.quantization = read.quantizations("quantization");
  read.choice("crop", enum_names<Crop>, m.crop);
  const std::vector<std::string> classes = read.class_names("classes");
  if (!classes.empty() || m.config.head != Head::Detector) m.classes = classes;
  std::string positive_class;
  if (read.text("positive_class", positive_class) && !positive_class.empty())
    m.positive_class = positive_class;
  read.number("temperature", m.temperature);
  read.number("threshold", m.threshold);
  read.band("unsure_band", m.unsure);
  read.choice("resize", kResizeNames, m.resize);
  std::string format;
  read.text("format", format);
  m.notes = read.rest();
  try {
    m.config.validate();
  } catch (const UsageError& e) {
    throw ModelFileError(name_for_errors + ": " + e.what());
  }
  return m;
}

std::map<std::string, std::string> write_metadata(const ModelMetadata& model) {
  const NetworkConfig& c = model.config;
  std::map<std::string, std::string> m = model.notes;
  m["format"] = "pt";  // tensors are in PyTorch's layout
  m["engine_version"] = DFENGINE_VERSION;
  m["arch"] = c.architecture;
  m["width_mult"] = fmt::format("{}", c.width);
  m["input_size"] = fmt::format("{}", c.input_size);
  // Only where it is not as published, as files of older versions have none.
  if (c.stem_stride != NetworkConfig{}.stem_stride)
    m["stem_stride"] = fmt::format("{}", c.stem_stride);
  m["bn_eps"] = fmt::format("{}", c.bn_eps);
  m["bn_momentum"] = fmt::format("{}", c.bn_momentum);
  m["pad_mode"] = kPaddingNames.name_of(c.padding);
  m["mean"] = fmt::format("{}", fmt::join(c.mean, ","));
  m["std"] = fmt::format("{}", fmt::join(c.std_dev, ","));
  m["head"] = name_of(c.head);
  m["dropout"] = fmt::format("{}", c.dropout);
  if (c.members > 1) m["members"] = fmt::format("{}", c.members);
  if (!c.quantization.empty()) {
    std::vector<std::string> items;
    for (const auto& [name, q] : c.quantization)
      items.push_back(fmt::format("{}:{}:{}", name, q.scale, q.zero));
    m["quantization"] = fmt::format("{}", fmt::join(items, ","));
  }
  m["resize"] = kResizeNames.name_of(model.resize);
  m["crop"] = name_of(model.crop);
  if (!model.classes.empty()) {
    std::vector<std::string> names;
    for (const std::string& name : model.classes) names.push_back(csv_field(name));
    m["classes"] = fmt::format("{}", fmt::join(names, ","));
    m["positive_class"] = model.positive_class;
    m["temperature"] = fmt::format("{}", model.temperature);
    m["threshold"] = fmt::format("{}", model.threshold);
    if (model.unsure) m["unsure_band"] = fmt::format("{},{}", model.unsure->from, model.unsure->to);
  }
  return m;
}

}  // namespace dfengine
