// dfengine metadata: what the columns of a table alone can tell, beside the image model.
#include <fmt/format.h>

#include <optional>

#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/tables.h"
#include "engine/model/training_pictures.h"
#include "engine/tables/metadata/comparison.h"
#include "engine/tables/metadata/hybrid.h"
#include "kernels/base/atomic_file.h"

namespace dfengine {
namespace {

constexpr double kThreshold = 0.5;

struct TrainArguments {
  std::filesystem::path csv, valid_csv, test_csv, image_model, output;
  bool keep_leaks = false;
  TableArguments tables;
};

// The image model's scores of the tables that are compared.
struct ImageScores {
  double threshold = kThreshold;
  std::vector<double> valid, test;
};

ImageScores score_images(const TrainArguments& a, const LabelledTable& valid,
                         const LabelledTable& test) {
  Model model = open_detector(a.image_model);
  ThreadPool pool(ThreadPool::count_for(a.tables.threads));
  refuse_training_pictures(model, picture_paths(valid, a.tables.root(a.valid_csv)), valid.name);
  refuse_training_pictures(model, picture_paths(test, a.tables.root(a.test_csv)), test.name);
  return {model.threshold, table_image_logits(model, pool, valid, a.tables.root(a.valid_csv)),
          table_image_logits(model, pool, test, a.tables.root(a.test_csv))};
}

struct Tables {
  LabelledTable train, test;
  std::optional<LabelledTable> valid;  // with an image model
  std::optional<ImageScores> image;
};

// Metadata and both, with some columns.
void add_rows(const Tables& t, const MetadataModel& model, const std::vector<std::string>& columns,
              const std::string& suffix, std::vector<ComparisonRow>& rows) {
  rows.push_back(compare("metadata" + suffix, model.logits(t.test.table, t.test.name), t.test.label,
                         kThreshold));
  if (!t.image) return;
  if (suffix.empty())
    rows.push_back(compare("image", t.image->test, t.test.label, t.image->threshold));
  const HybridFit fit =
      fit_hybrid(t.valid->table, t.valid->label, t.image->valid, columns, t.valid->name);
  const bool stacked = fit.model.uses_metadata();
  rows.push_back(compare("both" + suffix,
                         fit.model.logits(t.image->test, t.test.table, t.test.name), t.test.label,
                         stacked ? kThreshold : t.image->threshold));
  if (!stacked)
    fmt::print("both{}: metadata adds nothing that validation data shows; image alone\n", suffix);
}

Tables read_tables(const TrainArguments& a) {
  Tables t{a.tables.read(a.csv, "train", a.tables.file_properties),
           a.tables.read(a.test_csv, "test", a.tables.file_properties),
           {},
           {}};
  std::vector<const LabelledTable*> all = {&t.train, &t.test};
  if (!a.image_model.empty())
    all.push_back(&t.valid.emplace(a.tables.read(a.valid_csv, "valid", a.tables.file_properties)));
  a.tables.require_tables_apart(all);
  return t;
}

// Before the image model looks at any picture.
void check_fields(const Tables& t, const std::vector<std::string>& columns) {
  std::vector<Encoder> encoders = {fit_encoder(t.train.table, columns, t.train.name)};
  if (t.valid) encoders.push_back(fit_encoder(t.valid->table, columns, t.valid->name));
  print_unfit_fields(t.test.table, t.test.name, encoders);
}

void run_train(const TrainArguments& a) {
  Tables t = read_tables(a);
  std::vector<ColumnVerdict> verdicts = judge_columns(t.train);
  const auto columns = choose_columns(verdicts, a.tables.exclude, false);
  print_columns(verdicts);
  const auto fit = [&](const std::vector<std::string>& names) {
    return fit_metadata(t.train.table, t.train.label, names, t.train.name);
  };
  MetadataModel model = fit(columns);
  model.file_properties = a.tables.file_properties;
  check_fields(t, choose_columns(verdicts, a.tables.exclude, a.keep_leaks));
  if (t.valid) t.image = score_images(a, *t.valid, t.test);
  std::vector<ComparisonRow> rows;
  add_rows(t, model, columns, "", rows);
  if (a.keep_leaks) {
    const auto with_leaks = choose_columns(verdicts, a.tables.exclude, true);
    add_rows(t, fit(with_leaks), with_leaks, ", leaks kept", rows);
  }
  fmt::print("{} rows to fit, {} to test; positive class: fake\n{}", t.train.label.size(),
             t.test.label.size(), comparison_text(rows));
  make_folder(a.output);
  save_metadata_model(a.output / kMetadataFile, model);
  write_text(a.output / "comparison.csv", comparison_csv(rows));
}

struct EvalArguments {
  std::filesystem::path model, csv;
  TableArguments tables;
};

void run_eval(const EvalArguments& a) {
  const MetadataModel model = load_metadata_model(a.model);
  const LabelledTable test = a.tables.read_for({&model}, a.csv, "test");
  print_unfit_fields(test.table, test.name, {model.encoder});
  const auto logits = model.logits(test.table, test.name);
  fmt::print("{} rows; positive class: fake\n{}", test.label.size(),
             comparison_text({compare("metadata", logits, test.label, kThreshold)}));
}

void add_metadata_train(CLI::App& metadata) {
  const auto [command, a] = add_command<TrainArguments>(
      metadata, "train", "Fit a logistic regression on a table's columns.",
      "Columns that give the label away (ids, paths, row numbers, anything that alone "
      "reaches an AUC of .95) are left out and named. Prints the test figures of the metadata "
      "and, with --image-model, of the image and of both together. OUTPUT becomes a folder "
      "with metadata.json, which cascade and metadata eval read, and comparison.csv. It "
      "computes on the CPU.",
      run_train);
  command
      .add_option("--csv", a.csv,
                  "Table to fit on, or where it has a column split its rows of train.")
      ->required();
  CLI::Option* valid =
      command
          .add_option(
              "--valid-csv", a.valid_csv,
              "Table on which the combination of image and metadata is fitted, or where it has a "
              "column split its rows of valid.")
          ->default_str("none");
  command
      .add_option(
          "--test-csv", a.test_csv,
          "Table to compare on, of other rows, or where it has a column split its rows of test.")
      ->required();
  command
      .add_option("--image-model", a.image_model,
                  "Compare with this model, and with both together.")
      ->needs(valid)
      ->default_str("none, the metadata alone");
  command.add_flag("--keep-leaks", a.keep_leaks,
                   "Show also what the table would have claimed with the leaks left in.");
  command.add_option("--output", a.output, "Folder for metadata.json and comparison.csv.")
      ->required();
  a.tables.add_columns_to(command);
  a.tables.add_reading_to(command);
  add_threads(command, a.tables.threads);
}

void add_metadata_eval(CLI::App& metadata) {
  const auto [command, a] = add_command<EvalArguments>(
      metadata, "eval", "Measure a metadata model on a labelled table.",
      "Where a column held numbers alone in training, fields that are none count as missing and "
      "are named on standard error; where they are more than half of a column, the table is "
      "refused. Dates and times are held to the same, and so are all tables that a detector reads.",
      run_eval);
  command
      .add_option("--model", a.model,
                  "metadata.json, as metadata train writes it, or the folder with it.")
      ->required();
  command
      .add_option("--csv", a.csv,
                  "Table with labels, other than the one that the model was fitted on, or where it "
                  "has a column split its rows of test.")
      ->required();
  a.tables.add_reading_to(command);
}

}  // namespace

void add_metadata(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("metadata", "Detect by a table's columns instead of the pictures.");
  command->require_subcommand(1);
  add_metadata_train(*command);
  add_metadata_eval(*command);
}

}  // namespace dfengine
