// dfengine hybrid: the image model's score and a table's columns in one detector.
#include <fmt/format.h>

#include <optional>

#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/tables.h"
#include "engine/model/training_pictures.h"
#include "engine/tables/metadata/comparison.h"
#include "engine/tables/metadata/hybrid.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path model, csv, test_csv, output;
  TableArguments tables;
};

void print_comparison(const Arguments& a, Model& model, ThreadPool& pool, const HybridModel& hybrid,
                      const LabelledTable& test) {
  const std::filesystem::path root = a.tables.root(a.test_csv);
  const std::vector<double> image = table_image_logits(model, pool, test, root);
  const std::vector<double> both = hybrid.logits(image, test.table, test.name);
  fmt::print("{} rows to test; positive class: fake\n{}", test.label.size(),
             comparison_text(
                 {compare("image", image, test.label, model.threshold),
                  compare("both", both, test.label, PictureDetector(model, hybrid).threshold())}));
}

void run_train(const Arguments& a) {
  check_model_output(a.output, {a.model, a.csv, a.test_csv});
  Model model = open_detector(a.model);
  ThreadPool pool(ThreadPool::count_for(a.tables.threads));
  const LabelledTable valid = a.tables.read(a.csv, "valid", a.tables.file_properties);
  const std::filesystem::path root = a.tables.root(a.csv);
  refuse_training_pictures(model, picture_paths(valid, root), valid.name);
  std::optional<LabelledTable> test;
  if (!a.test_csv.empty()) {
    test = a.tables.read(a.test_csv, "test", a.tables.file_properties);
    refuse_training_pictures(model, picture_paths(*test, a.tables.root(a.test_csv)), test->name);
    a.tables.require_tables_apart({&valid, &*test});
  }
  std::vector<ColumnVerdict> verdicts = judge_columns(valid);
  const auto columns = choose_columns(verdicts, a.tables.exclude, false);
  print_columns(verdicts);
  if (test)
    print_unfit_fields(test->table, test->name, {fit_encoder(valid.table, columns, valid.name)});
  const std::vector<double> image = table_image_logits(model, pool, valid, root);
  HybridFit fit = fit_hybrid(valid.table, valid.label, image, columns, valid.name);
  const bool stacked = fit.model.uses_metadata();
  fit.model.metadata.file_properties = stacked && a.tables.file_properties;
  fmt::print("log loss of rows left out: image {:.4f}, with metadata {:.4f}; {}\n", fit.image_loss,
             fit.hybrid_loss, stacked ? "metadata is used" : "no clear gain: metadata is not used");
  if (test) print_comparison(a, model, pool, fit.model, *test);
  model.notes[kHybridEntry] = to_note(fit.model);
  save_model(a.output, model);
}

}  // namespace

void add_hybrid(CLI::App& program) {
  CLI::App* hybrid = program.add_subcommand(
      "hybrid", "Make one detector of the image model's score and a table's columns.");
  hybrid->require_subcommand(1);
  const auto [command, a] = add_command<Arguments>(
      *hybrid, "train", "Fit the combination of image and columns.",
      "It is fitted on validation data, never on what the image model was trained on: such "
      "tables are refused, as far as the model file tells. Columns are used only where they "
      "clearly help; those that give the "
      "label away are left out and named. OUTPUT is a model file; dfengine predict --csv reads "
      "it. It computes on the CPU.",
      run_train);
  command.add_option("--model", a.model, "Image model, as train writes it.")->required();
  command
      .add_option("--csv", a.csv,
                  "Table of validation pictures, or where it has a column split its rows of valid.")
      ->required();
  command
      .add_option(
          "--test-csv", a.test_csv,
          "Table to compare the image alone and both on, of other pictures, or where it has a "
          "column split its rows of test.")
      ->default_str("none, nothing is compared");
  command.add_option("--output", a.output, "Model file to write, named .safetensors.")->required();
  a.tables.add_columns_to(command);
  a.tables.add_reading_to(command);
  add_threads(command, a.tables.threads);
}

}  // namespace dfengine
