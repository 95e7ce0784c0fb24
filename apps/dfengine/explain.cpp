// dfengine explain: where in each picture the model found what it says.
#include <fmt/format.h>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/commands.h"
#include "engine/data/pictures/png_encode.h"
#include "engine/evaluate/explain_files.h"
#include "engine/evaluate/grad_cam.h"
#include "engine/evaluate/metrics/calibration.h"
#include "kernels/base/atomic_file.h"

namespace dfengine {
namespace {

// Whose evidence is drawn: of the class that the model calls, or of one class.
enum class Question { Called, Fake, Real };
constexpr auto kQuestions = names_for<Question>(
    "class", {{"called", Question::Called}, {"fake", Question::Fake}, {"real", Question::Real}});

// Those that the CPU computes heat maps in.
constexpr auto kPrecisions =
    names_for<Precision>("precision", {{"bf16", Precision::Bf16}, {"fp32", Precision::Fp32}});

struct Arguments {
  std::filesystem::path model, output;
  std::vector<std::filesystem::path> paths;
  Question evidence = Question::Called;
  Precision precision = Precision::Fp32;
  int threads = 0;
};

void run_explain(const Arguments& a) {
  const Model model = open_detector(a.model);
  print_unread_columns(a.model, model);
  const std::vector<std::filesystem::path> paths = list_pictures(a.paths);
  const std::vector<std::filesystem::path> files = overlay_files(a.output, paths);
  make_folder(a.output);
  ThreadPool pool(ThreadPool::count_for(a.threads));
  const std::unique_ptr<Backend> backend =
      open_backend(DeviceKind::Cpu, {.precision = a.precision}, pool);
  GradCam cam(model, *backend);
  const Index size = model.config.input_size;
  fmt::print("prob_fake  evidence  overlay  path (threshold {:g})\n", model.threshold);
  const auto bad = for_each_batch(
      paths, model.preparation(),
      [&](const std::uint8_t* pixels, const std::vector<std::size_t>& which) {
        for (std::size_t k = 0; k < which.size(); ++k) {
          const std::uint8_t* picture = pixels + static_cast<Index>(k) * size * size * 3;
          const GradCamRun run = cam.run(picture);
          const double prob = model.probability(run.logit);
          require_number(a.model, prob);
          const bool fake = a.evidence == Question::Called ? prob >= model.threshold
                                                           : a.evidence == Question::Fake;
          const EvidenceMap map = run.evidence(fake ? Evidence::Fake : Evidence::Real);
          const std::filesystem::path& file = files[which[k]];
          write_file_atomic(file, encode_png(overlay(ImageView(picture, size, size), map)));
          fmt::print("{:9.4f}  {:8}  {}  {}\n", prob, model.classes[fake ? 1 : 0], file.string(),
                     paths[which[k]].string());
        }
      });
  std::vector<std::string> errors;
  for (const BadPicture& b : bad) errors.push_back(b.reason);
  end_if_unreadable(errors, paths.size());
}

}  // namespace

void add_explain(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "explain", "Draw where in each picture the evidence is, as heat maps (Grad-CAM).",
      "OUTPUT becomes a folder with a PNG for each picture, red where the evidence is "
      "strongest. For pictures called real the gradient's sign is turned, so that the map "
      "shows what speaks for real. It computes on the CPU.",
      run_explain);
  command
      .add_option("--model", a.model,
                  "Model file, as train writes it, a run's folder, or a detector in any format "
                  "that weights may have.")
      ->required();
  command.add_option("--output", a.output, "Folder for the overlays.")->required();
  add_choice(command, "--class", a.evidence, kQuestions,
             "The class whose evidence is drawn: called is what the model says of the picture.");
  command.add_option("PATH", a.paths, "Pictures, or folders of them.")->required();
  add_threads(command, a.threads);
  add_choice(command, "--precision", a.precision, kPrecisions,
             "How activations and the weights that convolutions read are stored: fp32, or bf16 "
             "where the CPU has AVX512-BF16.");
}

}  // namespace dfengine
