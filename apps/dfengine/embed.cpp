// dfengine embed: pooled features or logits of pictures, as one tensor.
#include <fmt/format.h>

#include <memory>

#include "apps/dfengine/commands.h"
#include "apps/dfengine/common.h"
#include "engine/predictor.h"
#include "kernels/error.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model, output;
  std::vector<std::filesystem::path> paths;
  std::string layer = "pooled", crop = "none";
  DeviceOptions device;
};

void run_embed(const Arguments& a) {
  a.device.check();
  Model model = load_model(a.model);
  const std::vector<std::filesystem::path> paths = list_pictures(a.paths);
  cpu::ThreadPool pool(a.device.thread_count());
  Predictor predictor(model, pool,
                      a.layer == "pooled" ? Predictor::Output::Pooled : Predictor::Output::Logits);
  const auto width = static_cast<std::size_t>(predictor.width());
  std::vector<float> rows;
  std::string names;
  const auto bad =
      for_each_batch(paths, parse_crop(a.crop), predictor.input_size(),
                     [&](const std::uint8_t* pixels, const std::vector<std::size_t>& which) {
                       rows.resize(rows.size() + which.size() * width);
                       predictor.run(pixels, static_cast<Index>(which.size()),
                                     rows.data() + rows.size() - which.size() * width);
                       for (std::size_t i : which) names += paths[i].filename().string() + "\n";
                     });
  // Rows answer to the pictures in order: one that is missing would shift the rest.
  if (!bad.empty()) throw DataError(bad.front().reason);
  weights::TensorFile file;
  file.tensors.push_back(weights::make_tensor(
      a.layer, {static_cast<std::int64_t>(rows.size() / width), static_cast<std::int64_t>(width)},
      std::span<const float>(rows)));
  file.metadata = {{"files", names}, {"model", a.model.filename().string()}, {"crop", a.crop}};
  weights::write_safetensors(a.output, file);
  fmt::print("{}: {} [{}, {}]\n", a.output.string(), a.layer, rows.size() / width, width);
}

}  // namespace

void add_embed(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      program.add_subcommand("embed", "Features of pictures: one row each, in the order given");
  command->add_option("--model", a->model, "Model or weights file, or imagenet")->required();
  command->add_option("--layer", a->layer, "pooled or logits")
      ->check(CLI::IsMember({"pooled", "logits"}))
      ->capture_default_str();
  command->add_option("--crop", a->crop, "none: resize to the square; center: resize, then cut")
      ->check(CLI::IsMember({"none", "center"}))
      ->capture_default_str();
  command->add_option("--output", a->output, "Safetensors file to write")->required();
  command->add_option("PATH", a->paths, "Pictures, or folders of them")->required();
  a->device.add_to(*command);
  command->callback([a] { run_embed(*a); });
}

}  // namespace dfengine
