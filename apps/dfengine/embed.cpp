// dfengine embed: pooled features or logits of pictures, as one tensor.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/commands.h"
#include "engine/model/predictor.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr auto kLayers = names_for<Predictor::Output>(
    "layer", {{"pooled", Predictor::Output::Pooled}, {"logits", Predictor::Output::Logits}});

struct Arguments {
  std::filesystem::path model, output;
  std::vector<std::filesystem::path> paths;
  Predictor::Output layer = Predictor::Output::Pooled;
  std::optional<ResizeRule> resize;
  std::optional<Crop> crop;
  Index max_pixels = kMaxImagePixels;
  DeviceOptions device;
};

void run_embed(Arguments& a) {
  const Model model = open_model(a.model);
  a.device.resolve(!model.config.quantization.empty());
  const std::vector<std::filesystem::path> paths = list_pictures(a.paths);
  std::vector<std::filesystem::path> inputs = paths;
  inputs.push_back(a.model);
  check_output(a.output, inputs);
  ThreadPool pool(a.device.thread_count());
  const std::unique_ptr<Backend> backend = a.device.open(pool);
  Predictor predictor(model, *backend, a.layer);
  const auto width = static_cast<std::size_t>(predictor.width());
  Preparation how = model.preparation(a.max_pixels);
  how.crop = a.crop.value_or(how.crop);
  how.resize = a.resize.value_or(how.resize);
  std::vector<float> rows;
  auto names = nlohmann::json::array();
  const auto bad = for_each_batch(
      paths, how, [&](const std::uint8_t* pixels, const std::vector<std::size_t>& which) {
        rows.resize(rows.size() + which.size() * width);
        predictor.run(pixels, static_cast<Index>(which.size()),
                      rows.data() + rows.size() - which.size() * width);
        for (std::size_t i : which) names.push_back(bytes_to_json(paths[i].string()));
      });
  // Rows answer to the pictures in order: one that is missing would shift the rest.
  if (!bad.empty()) throw DataError(bad.front().reason);
  weights::TensorFile file;
  file.tensors.push_back(weights::make_tensor(
      kLayers.name_of(a.layer),
      {static_cast<std::int64_t>(rows.size() / width), static_cast<std::int64_t>(width)},
      std::span<const float>(rows)));
  file.metadata = {{"files", names.dump()},
                   {"model", readable(a.model.filename().string())},
                   {"crop", name_of(how.crop)},
                   {"resize", name_of(how.resize)}};
  weights::write_safetensors(a.output, file);
  fmt::print("{}: {} [{}, {}]\n", a.output.string(), kLayers.name_of(a.layer), rows.size() / width,
             width);
}

}  // namespace

void add_embed(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "embed", "Write the features of pictures.",
      "OUTPUT is a safetensors file with one tensor [pictures, features], a row for each "
      "picture in the order given. Its metadata holds the pictures' paths as a JSON array, "
      "the model's name and how the pictures were prepared. A picture that cannot be read ends "
      "the command, for a missing row would shift the others.",
      run_embed);
  command.add_option("--model", a.model, "Model or weights file, or imagenet.")->required();
  add_choice(command, "--layer", a.layer, kLayers,
             "What is written: the pooled features before the head, or the logits.");
  add_resize(command, a.resize, a.crop);
  add_max_pixels(command, a.max_pixels);
  command.add_option("--output", a.output, "Safetensors file to write.")->required();
  command.add_option("PATH", a.paths, "Pictures, or folders of them.")->required();
  a.device.add_to(command);
}

}  // namespace dfengine
