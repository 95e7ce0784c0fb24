// dfengine convert: any model or weights file we read, as the engine's own or as ONNX.
#include <fmt/format.h>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/commands.h"
#include "engine/model/model.h"
#include "engine/model/onnx_export.h"
#include "engine/model/stated.h"
#include "engine/model/unfold.h"
#include "engine/runtime/cpu/cpu_backend.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/sha256.h"
#include "weights/pretrained.h"
#include "weights/read_file.h"

namespace dfengine {
namespace {

constexpr auto kPixels = names_for<OnnxPixels>(
    "normalize", {{"inside", OnnxPixels::Raw}, {"outside", OnnxPixels::Normalized}});

struct Arguments {
  std::filesystem::path in, out;
  OnnxPixels pixels = OnnxPixels::Raw;
  const CLI::Option* normalize = nullptr;  // by which pixels are chosen
  Stated stated;
  bool unfold_bn = false;
  std::vector<std::filesystem::path> calibrate;
  int threads = 0;
};

// More pictures hardly move the statistics; the time they take would.
constexpr std::size_t kMostCalibration = 1024;

void unfold(Model& model, const Arguments& a) {
  if (!is_bn_folded(model)) {
    throw ModelFileError(a.in.string() +
                         ": its batch norms are not folded, so --unfold-bn has nothing to do");
  }
  ThreadPool pool(ThreadPool::count_for(a.threads));
  const CpuBackend backend(pool);
  BatchNormUnfolder unfolder(model, backend);
  const auto pictures = evenly_spaced(list_pictures(a.calibrate), kMostCalibration);
  const auto bad =
      for_each_batch(pictures, model.preparation(),
                     [&](const std::uint8_t* pixels, const std::vector<std::size_t>& which) {
                       unfolder.add(pixels, static_cast<Index>(which.size()));
                     });
  for (const BadPicture& b : bad) fmt::print(stderr, "dfengine: left out: {}\n", b.reason);
  unfolder.finish();
  fmt::print("batch norm statistics of {} pictures\n", pictures.size() - bad.size());
}

void run_convert(const Arguments& a) {
  require_ending(a.out, {".safetensors", ".onnx"});
  const bool onnx = a.out.extension() == ".onnx";
  if (!onnx && a.normalize->count() > 0) throw UsageError("--normalize is for .onnx");
  if (onnx && a.unfold_bn)
    throw UsageError("--unfold-bn is for .safetensors: an .onnx has its batch norms folded");
  const std::filesystem::path file = weights::find_weights(a.in);
  check_output(a.out, {file});
  weights::TensorFile tensors = read_weights(file);
  apply_stated(tensors, a.stated);
  Model model = model_from_tensors(tensors, file.string());
  print_remarks(a.in, model.remarks);
  // A model of ours keeps the weights it came from.
  if (!model.notes.contains("source_file")) {
    model.notes["source_file"] = readable(file.filename().string());
    model.notes["source_sha256"] = sha256_hex(weights::read_file(file));
  }
  if (a.unfold_bn) unfold(model, a);
  if (onnx) {
    print_unread_columns(a.in, model);
    save_onnx(a.out, model, a.pixels);
  } else {
    save_model(a.out, model);
  }
  // Of a model that came of no other weights nothing is known.
  const auto family = model.notes.find("source_family");
  fmt::print(
      "{}: width {}, input {}, from {}{}\n", a.out.string(), model.config.width,
      model.config.input_size, a.in.string(),
      family == model.notes.end() ? "" : fmt::format(" ({})", weights::printable(family->second)));
}

}  // namespace

void add_convert(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "convert", "Turn a model or weights file into the engine's own, or into ONNX.",
      "IN is MobileNetV2 as safetensors with torchvision's, timm's or Hugging Face's names, "
      "as PyTorch .pth (zip and legacy, read without running any of it), as Keras .h5 and "
      ".keras, or as ONNX; its content tells which. Of a model of Keras' or ONNX' with a "
      "detector's head all is taken, scaling of pixels too; of other networks the base. What is "
      "left out and what had to be assumed is named. An OUT.onnx has its batch norms folded "
      "and answers with calibrated probabilities; class names and threshold stand in its "
      "metadata. An OUT.safetensors holds all that the model needs; its base tensors have "
      "torchvision's names.",
      run_convert);
  command
      .add_option("IN", a.in,
                  "Model or weights file, or imagenet: torchvision's own, downloaded once into "
                  "~/.cache/dfengine.")
      ->required();
  command.add_option("OUT", a.out, "File to write, named .safetensors or .onnx.")->required();
  const auto of_foreign = [](CLI::Option* option) {
    option->group("Of a file that is not dfengine's");
  };
  of_foreign(add_choice(command, "--label-positive", a.stated.label_one,
                        "What a detector's output, or its second one, is the probability of.")
                 ->default_str("fake"));
  of_foreign(add_choice(command, "--pixels", a.stated.pixels,
                        "What the network sees of a pixel: numbers from -1 to 1, from 0 to 1, by "
                        "ImageNet's mean and standard deviation, or from 0 to 255.")
                 ->default_str("what the file says, else what its family has"));
  of_foreign(command
                 .add_option("--img-size", a.stated.img_size,
                             "The side of the network's input in pixels: a multiple of 32 from 96 "
                             "to 320.")
                 ->default_str("what the file says, else 224"));
  add_resize(command, a.stated.resize, a.stated.crop);
  for (const char* option : {"--resize", "--crop"}) of_foreign(command.get_option(option));
  a.normalize =
      add_choice(command, "--normalize", a.pixels, kPixels,
                 "What an .onnx takes. inside: pixels from 0 to 255; outside: what the metadata's "
                 "mean and std make of pixel / 255.");
  CLI::Option* unfold_flag = command.add_flag(
      "--unfold-bn", a.unfold_bn,
      "Of weights whose batch norms are folded, as in ONNX: estimate their statistics on "
      "--calibrate's pictures, so that all layers can be fine-tuned. Inference results stay.");
  CLI::Option* calibrate =
      command
          .add_option("--calibrate", a.calibrate,
                      "Pictures, or folders of them: at least 32, at best several hundred like "
                      "those that the model will see. Of more than 1024 an even selection is "
                      "used.")
          ->needs(unfold_flag)
          ->default_str("none");
  unfold_flag->needs(calibrate);
  add_threads(command, a.threads);
}

}  // namespace dfengine
