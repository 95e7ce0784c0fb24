// dfengine cascade: metadata decides the easy cases, the image model sees the rest.
#include <fmt/format.h>

#include <chrono>

#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/tables.h"
#include "engine/model/training_pictures.h"
#include "engine/tables/metadata/cascade.h"
#include "engine/tables/metadata/comparison.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model, metadata, csv, test_csv, output;
  double max_error = 0.01;
  TableArguments tables;
};

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void print_thresholds(const Cascade& c) {
  const auto side = [](const char* what, const std::optional<double>& at, const char* sign) {
    return at ? fmt::format("{} where probability {} {:.4f}", what, sign, *at)
              : fmt::format("nothing {}", what);
  };
  fmt::print("metadata calls {}, {} (at most {:g} wrong on each side, {:g} % confidence)\n",
             side("real", c.real_below, "<="), side("fake", c.fake_above, ">="), c.max_error,
             100 * c.confidence);
}

void print_report(const CascadeReport& r) {
  fmt::print("metadata decides {} of {} pictures ({:.1f} %): {} real, {} fake, {} of them wrong\n",
             r.called_real + r.called_fake, r.rows, 100 * r.decided(), r.called_real, r.called_fake,
             r.errors);
  fmt::print(
      "milliseconds per picture: metadata {:.3f}, image {:.3f}, cascade {:.3f} ({:.1f} % "
      "saved)\n",
      1e3 * r.metadata_seconds, 1e3 * r.image_seconds, 1e3 * r.seconds(),
      100 * (1 - r.seconds() / r.image_seconds));
}

void test_cascade(const Arguments& a, Model& model, const Cascade& cascade,
                  const LabelledTable& valid) {
  ThreadPool pool(ThreadPool::count_for(a.tables.threads));
  const Stopwatch reading;
  TableModels detectors = read_table_models(model.notes, a.model.string());
  detectors.cascade = cascade;
  std::vector<const MetadataModel*> models = {&cascade.metadata};
  if (detectors.hybrid) models.push_back(&detectors.hybrid->metadata);
  const LabelledTable test = a.tables.read_for(models, a.test_csv, "test");
  const auto metadata = cascade.metadata.logits(test.table, test.name);
  const auto prob = to_probabilities(metadata);
  const double metadata_seconds = reading.seconds();
  std::vector<Encoder> encoders = {cascade.metadata.encoder};
  if (detectors.hybrid) encoders.push_back(detectors.hybrid->metadata.encoder);
  print_unfit_fields(test.table, test.name, encoders);
  a.tables.require_tables_apart({&valid, &test});
  const std::filesystem::path root = a.tables.root(a.test_csv);
  refuse_training_pictures(model, picture_paths(test, root), test.name);
  const PictureDetector detector(model, detectors.hybrid);
  const Stopwatch looking;
  const auto image = detector.logits(pool, test.table, root, test.name);
  CascadeReport report = evaluate_cascade(cascade, prob, test.label);
  const auto rows = static_cast<double>(report.rows);
  report.metadata_seconds = metadata_seconds / rows;
  report.image_seconds = looking.seconds() / rows;
  print_report(report);
  const auto both = cascade_logits(cascade, metadata, around_half(image, detector.threshold()));
  fmt::print("{}", comparison_text({compare("metadata", metadata, test.label, 0.5),
                                    compare(detector.hybrid ? "image and metadata" : "image", image,
                                            test.label, detector.threshold()),
                                    compare("cascade", both, test.label, 0.5)}));
}

void run_cascade(const Arguments& a) {
  check_model_output(a.output, {a.model, a.metadata, a.csv, a.test_csv});
  Model model = open_detector(a.model);
  const MetadataModel metadata = load_metadata_model(a.metadata);
  const LabelledTable valid = a.tables.read_for({&metadata}, a.csv, "valid");
  print_unfit_fields(valid.table, valid.name, {metadata.encoder});
  const auto prob = to_probabilities(metadata.logits(valid.table, valid.name));
  Cascade cascade = choose_cascade(prob, valid.label, a.max_error);
  cascade.metadata = metadata;
  print_thresholds(cascade);
  if (!a.test_csv.empty()) test_cascade(a, model, cascade, valid);
  model.notes[kCascadeEntry] = to_note(cascade);
  save_model(a.output, model);
}

}  // namespace

void add_cascade(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "cascade",
      "Let metadata decide the easy pictures, so that fewer need the image model.",
      "Chooses on validation data below which probability the metadata model calls real and "
      "above which it calls fake, within --max-error. The pictures in between are left to the "
      "image model. With --test-csv it prints the share that metadata decides, the errors, "
      "the figures and the time saved. OUTPUT is a model file; dfengine predict --csv reads "
      "it. It computes on the CPU.",
      run_cascade);
  command.add_option("--model", a.model, "Image model as train writes it, or a hybrid.")
      ->required();
  command
      .add_option("--metadata", a.metadata,
                  "metadata.json, as metadata train writes it, or the folder with it.")
      ->required();
  command
      .add_option(
          "--csv", a.csv,
          "Table of validation pictures on which the thresholds are chosen, or where it has a "
          "column split its rows of valid. It must not be the one that the metadata model "
          "was fitted on.")
      ->required();
  command
      .add_option(
          "--test-csv", a.test_csv,
          "Table to report share, figures and cost on, of other pictures, or where it has a "
          "column split its rows of test.")
      ->default_str("none, nothing is reported");
  command
      .add_option(
          "--max-error", a.max_error,
          "The greatest share of wrong answers on each side, held with 95 % confidence: above 0 "
          "and below 0.5.")
      ->capture_default_str();
  command.add_option("--output", a.output, "Model file to write, named .safetensors.")->required();
  a.tables.add_reading_to(command);
  add_threads(command, a.tables.threads);
}

}  // namespace dfengine
