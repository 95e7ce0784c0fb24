#include "engine/model/model_fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <unordered_set>

#include "kernels/base/error.h"
#include "kernels/base/numbers.h"
#include "layers/networks/architectures.h"
#include "weights/families/other_networks.h"
#include "weights/families/source.h"
#include "weights/read_file.h"

namespace dfengine {
namespace {

using Entries = std::map<std::string, std::string>;

// Counters that PyTorch keeps beside its batch norms, and thop in every layer that it profiled; the
// engine has no use for them.
bool is_counter(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return last == "num_batches_tracked" || last == "total_ops" || last == "total_params";
}

// Rows of a dense layer's weight. They stay unchanged where the tensor cannot be one; compare()
// then reports it.
void take_rows(const weights::Tensor* weight, Index& rows) {
  if (weight != nullptr && weight->shape.size() == 2 && weight->shape[0] > 0)
    rows = weight->shape[0];
}

// Published widths are multiples of 0.05. Several widths may round to the same channels. Then the
// smallest is taken, except that 1 comes before all others.
double width_of(const weights::TensorFile& file, const Architecture& architecture) {
  if (architecture.deciding_channels == nullptr) return 1;
  const auto matches = [&](double width) {
    return std::ranges::count_if(
        architecture.deciding_channels(width), [&](const WeightChannels& wanted) {
          const weights::Tensor* t = file.find(wanted.weight);
          return t != nullptr && !t->shape.empty() && t->shape[0] == wanted.channels;
        });
  };
  double best = 1;
  auto most = matches(best);
  for (int i = 1; i <= 40; ++i) {
    const double width = i / 20.0;
    const auto count = matches(width);
    if (count > most) {
      most = count;
      best = width;
    }
  }
  return best;
}

NetworkConfig config_of(const weights::TensorFile& file, const Architecture& architecture) {
  NetworkConfig config;
  config.architecture = architecture.name;
  const weights::Tensor* detector = file.find("head.fc1.weight");
  if (detector == nullptr) detector = file.find("0.head.fc1.weight");  // of an ensemble
  const weights::Tensor* classifier = file.find("classifier.1.weight");
  config.head = detector ? Head::Detector : classifier ? Head::Classifier : Head::None;
  take_rows(detector, config.hidden);
  take_rows(classifier, config.classes);
  config.width = width_of(file, architecture);
  return config;
}

// What the file says, or the first of the table.
const Architecture& architecture_of(const std::map<std::string, std::string>& metadata,
                                    std::span<const Architecture> table,
                                    const std::string& name_for_errors) {
  const auto entry = metadata.find("arch");
  if (entry == metadata.end()) return table.front();
  try {
    return architecture(entry->second, table);
  } catch (const UsageError& e) {
    throw ModelFileError(name_for_errors + ": metadata 'arch': " + e.what());
  }
}

void compare(const weights::TensorFile& file, ModelFit& fit) {
  const std::vector<ParamSpec> specs = fit.network.graph.params();
  std::unordered_set<std::string_view> known;
  for (const ParamSpec& p : specs) {
    known.insert(p.name);
    const weights::Tensor* t = file.find(p.name);
    if (t == nullptr) {
      fit.missing.push_back(p.name);
    } else if (t->shape != p.file_shape) {
      fit.misshaped.push_back(fmt::format("{} [{}], expected [{}]", p.name,
                                          fmt::join(t->shape, ", "),
                                          fmt::join(p.file_shape, ", ")));
    }
  }
  for (const weights::Tensor& t : file.tensors)
    if (!known.contains(t.name) && !is_counter(t.name))
      fit.unexpected.push_back(weights::printable(t.name));
}

// Names, in a row; long lists are cut.
std::string row_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 20;
  const std::span first(names.data(), std::min(names.size(), kMost));
  return fmt::format("{}{}", fmt::join(first, ", "), names.size() > kMost ? ", ..." : "");
}

ModelFit fit_to(const weights::TensorFile& file, const Entries& entries,
                const NetworkConfig& config, const std::string& name_for_errors,
                std::span<const Architecture> table) {
  ModelFit fit;
  fit.metadata = read_metadata(entries, config, name_for_errors);
  try {
    fit.network = make_network(fit.metadata.config, table);
    // Looks at the scales and zero points that the file states.
    (void)fit.network.graph.infer(std::span(&fit.network.image, 1));
  } catch (const Error& e) {
    throw ModelFileError(name_for_errors + ": " + e.what());
  }
  compare(file, fit);
  return fit;
}

// Takes an entry's lines out.
std::vector<std::string> take_lines(Entries& entries, const char* key) {
  auto entry = entries.extract(key);
  std::vector<std::string> lines;
  if (!entry.empty())
    for (const std::string_view line : weights::lines_of(entry.mapped()))
      lines.push_back(weights::printable(line));
  return lines;
}

// A size of pictures that no network of ours takes leaves the base as it is.
void drop_odd_size(Entries& entries, NetworkConfig config, std::vector<std::string>& left_out) {
  const auto entry = entries.find("input_size");
  if (entry == entries.end()) return;
  const auto size = number_of<Index>(entry->second);
  if (!size) return;
  config.input_size = *size;
  try {
    config.validate();
  } catch (const UsageError& e) {
    left_out.push_back(std::string("its head: ") + e.what());
    entries.erase(entry);
  }
}

// Tensors that stand in no block of the base are no part of it.
void leave_out_foreign(ModelFit& fit, std::vector<std::string>& left_out) {
  if (!fit.missing.empty() || !fit.misshaped.empty()) return;  // not ours: all names may help
  const auto in_base = [&](const std::string& name) {
    return std::ranges::any_of(fit.network.blocks, [&](const std::string& block) {
      return name.starts_with(block + ".");
    });
  };
  const auto rest = std::partition(fit.unexpected.begin(), fit.unexpected.end(), in_base);
  const std::vector<std::string> foreign(rest, fit.unexpected.end());
  fit.unexpected.erase(rest, fit.unexpected.end());
  if (!foreign.empty())
    left_out.push_back(fmt::format("{} tensors: {}", foreign.size(), row_of(foreign)));
}

ModelFit fit_foreign(const weights::TensorFile& file, NetworkConfig config,
                     const std::string& name_for_errors, std::span<const Architecture> table) {
  Entries entries = file.metadata;
  std::vector<std::string> left_out = take_lines(entries, weights::kLeftOut);
  const std::vector<std::string> assumed = take_lines(entries, weights::kAssumed);
  const std::size_t reasons = left_out.size();
  drop_odd_size(entries, config, left_out);
  const bool odd_size = left_out.size() > reasons;
  ModelFit fit = fit_to(file, entries, config, name_for_errors, table);
  // The first layer of several is no classifier.
  const bool deeper = std::ranges::any_of(
      fit.unexpected, [](const std::string& name) { return name.starts_with("classifier."); });
  const bool unfit = odd_size || deeper || !fit.missing.empty() || !fit.misshaped.empty();
  if (config.head != Head::None && unfit) {
    config.head = Head::None;
    ModelFit base = fit_to(file, entries, config, name_for_errors, table);
    if (base.missing.empty() && base.misshaped.empty()) fit = std::move(base);
  }
  leave_out_foreign(fit, left_out);
  if (!fit.missing.empty()) fit.looks_like = weights::guess_network(file);
  if (fit.metadata.config.head == Head::Detector && !assumed.empty())
    fit.remarks.push_back(fmt::format("assumed: {}", fmt::join(assumed, "; ")));
  if (!left_out.empty())
    fit.remarks.push_back(fmt::format("left out: {}", fmt::join(left_out, "; ")));
  return fit;
}

// Entries that bear the names of ours and say something else, as "crop" of "0.875". Of a size that
// no network takes, drop_odd_size says more.
void leave_out_strange(weights::TensorFile& file, const std::string& name_for_errors) {
  file.metadata.erase("arch");
  std::string lines;
  std::erase_if(file.metadata, [&](const auto& entry) {
    if (entry.first == "input_size" && number_of<Index>(entry.second)) return false;
    try {
      read_metadata({entry}, {}, name_for_errors);
      return false;
    } catch (const ModelFileError& e) {
      lines += std::string(e.what()).substr(name_for_errors.size() + 2) + "\n";
      return true;
    }
  });
  if (!lines.empty()) file.metadata[weights::kLeftOut] += lines;
}

}  // namespace

weights::TensorFile translate_weights(weights::TensorFile file,
                                      const std::string& name_for_errors) {
  if (!weights::is_ours(file)) leave_out_strange(file, name_for_errors);
  std::vector<weights::Stage> stages;
  // Families other than ours publish the first architecture of the table.
  for (const Stage& stage : architectures().front().stages)
    stages.push_back({.expand = static_cast<int>(stage.expand),
                      .repeats = static_cast<int>(stage.repeats),
                      .stride = static_cast<int>(stage.stride)});
  return weights::to_torchvision(std::move(file), stages, name_for_errors);
}

namespace {

weights::TensorFile translate_model(weights::TensorFile read, const std::string& name) {
  if (read.metadata.contains(kTrainState))
    throw ModelFileError(name +
                         ": is a checkpoint, from which train --resume goes on; the model is "
                         "best.safetensors beside it");
  return translate_weights(std::move(read), name);
}

}  // namespace

weights::TensorFile read_weights(const std::filesystem::path& file) {
  return translate_model(weights::read_tensor_file(file), file.string());
}

weights::TensorFile parse_weights(std::span<const std::byte> file, const std::string& name) {
  return translate_model(weights::parse_tensor_file(file, name), name);
}

std::string ModelFit::faults() const {
  std::string text = "does not fit " + network.title;
  if (!looks_like.empty()) text += "; it looks like " + looks_like;
  text += ':';
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) text += fmt::format("\n  {} {}: {}", names.size(), what, row_of(names));
  };
  list("missing", missing);
  list("unexpected", unexpected);
  list("misshaped", misshaped);
  return text;
}

ModelFit fit_model(const weights::TensorFile& file, const std::string& name_for_errors,
                   std::span<const Architecture> table) {
  const Architecture& wanted = architecture_of(file.metadata, table, name_for_errors);
  const NetworkConfig config = config_of(file, wanted);
  if (weights::is_ours(file)) return fit_to(file, file.metadata, config, name_for_errors, table);
  return fit_foreign(file, config, name_for_errors, table);
}

std::string describe_misfit(const weights::TensorFile& file, const ModelFit& fit) {
  std::string text = fmt::format("{} tensors; the nearest is {} of width {}\n", file.tensors.size(),
                                 fit.network.title, fit.metadata.config.width);
  for (const auto& [key, value] : file.metadata)
    text += fmt::format("{}: {}\n", weights::printable(key), weights::printable(value));
  return text + fit.faults() + "\n";
}

}  // namespace dfengine
