// dfengine convert: any model or weights file we read, as the engine's own or as ONNX.
#include <fmt/format.h>

#include <memory>

#include "apps/dfengine/commands.h"
#include "engine/model.h"
#include "engine/onnx_export.h"
#include "kernels/error.h"
#include "weights/read_file.h"
#include "weights/sha256.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path in, out;
  std::string normalize = "inside";
};

void run_convert(const Arguments& a, bool normalize_given) {
  const std::string extension = a.out.extension().string();
  const bool onnx = extension == ".onnx";
  if (!onnx && extension != ".safetensors")
    throw UsageError(a.out.string() + ": the name must end in .safetensors or .onnx");
  if (!onnx && normalize_given) throw UsageError("--normalize is for .onnx");
  Model model = load_model(a.in);
  // A model of ours keeps the weights it came from.
  if (!model.notes.contains("source_file")) {
    model.notes["source_file"] = a.in.filename().string();
    model.notes["source_sha256"] = weights::sha256_hex(weights::read_file(a.in));
  }
  if (onnx) {
    save_onnx(a.out, model, a.normalize == "inside" ? OnnxPixels::Raw : OnnxPixels::Normalized);
  } else {
    save_model(a.out, model);
  }
  fmt::print("{}: width {}, input {}, from {} ({})\n", a.out.string(), model.config.width,
             model.config.input_size, a.in.string(),
             weights::printable(model.notes["source_family"]));
}

}  // namespace

void add_convert(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "convert", "Any model or weights file to the engine's own (.safetensors) or to .onnx");
  command->add_option("IN", a->in, "Model or weights file, its format told by its content")
      ->required();
  command->add_option("OUT", a->out, "File to write: .safetensors or .onnx")->required();
  CLI::Option* normalize =
      command
          ->add_option(
              "--normalize", a->normalize,
              "Of .onnx. inside: takes pixels 0 to 255; outside: takes what the metadata's "
              "mean and std make of pixel / 255")
          ->check(CLI::IsMember({"inside", "outside"}))
          ->capture_default_str();
  command->callback([a, normalize] { run_convert(*a, normalize->count() > 0); });
}

}  // namespace dfengine
