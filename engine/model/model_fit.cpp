#include "engine/model/model_fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <unordered_set>

#include "layers/networks/architectures.h"
#include "weights/families/source.h"
#include "weights/read_file.h"

namespace dfengine {
namespace {

// Counters that PyTorch keeps beside its batch norms; the engine has no use for them.
bool is_counter(std::string_view name) {
  return name.ends_with("num_batches_tracked");
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

}  // namespace

weights::TensorFile translate_weights(weights::TensorFile file,
                                      const std::string& name_for_errors) {
  std::vector<weights::Stage> stages;
  // Families other than ours publish the first architecture of the table.
  for (const Stage& stage : architectures().front().stages)
    stages.push_back({.expand = static_cast<int>(stage.expand),
                      .repeats = static_cast<int>(stage.repeats),
                      .stride = static_cast<int>(stage.stride)});
  return weights::to_torchvision(std::move(file), stages, name_for_errors);
}

weights::TensorFile read_weights(const std::filesystem::path& file) {
  return translate_weights(weights::read_tensor_file(file), file.string());
}

std::string ModelFit::faults() const {
  constexpr std::size_t kMost = 20;
  std::string text;
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    const std::span first(names.data(), std::min(names.size(), kMost));
    text += fmt::format("\n  {} {}: {}", names.size(), what, fmt::join(first, ", "));
    if (names.size() > kMost) text += ", ...";
  };
  list("missing", missing);
  list("unexpected", unexpected);
  list("misshaped", misshaped);
  return text;
}

ModelFit fit_model(const weights::TensorFile& file, const std::string& name_for_errors,
                   std::span<const Architecture> table) {
  ModelFit fit;
  const Architecture& wanted = architecture_of(file.metadata, table, name_for_errors);
  fit.metadata = read_metadata(file.metadata, config_of(file, wanted), name_for_errors);
  fit.network = make_network(fit.metadata.config, table);
  compare(file, fit);
  return fit;
}

std::string describe_misfit(const weights::TensorFile& file, const ModelFit& fit) {
  std::string text = fmt::format("{} tensors; the nearest is {} of width {}\n", file.tensors.size(),
                                 fit.network.title, fit.metadata.config.width);
  for (const auto& [key, value] : file.metadata)
    text += fmt::format("{}: {}\n", weights::printable(key), weights::printable(value));
  return text + "does not fit " + fit.network.title + ":" + fit.faults() + "\n";
}

}  // namespace dfengine
