#include "apps/dfengine/data_arguments.h"

#include "apps/dfengine/choice.h"

namespace dfengine {

void add_data_places(CLI::App& command, DataOptions& o) {
  command.add_option("--data", o.data,
                     "Folder of SPLIT/CLASS/ or CLASS/ (train valid val test; real fake, 0_real "
                     "1_fake, nature ai), itself or up to two levels down; with tables, where "
                     "their paths begin");
  command.add_option("--csv", o.csv,
                     "Table with columns path and label (0, 1 or names), perhaps label_str and "
                     "split; with the next two, that of the training pictures");
  command.add_option("--valid-csv", o.valid_csv, "Table of the validation pictures");
  command.add_option("--test-csv", o.test_csv, "Table of the test pictures");
}

std::vector<CLI::Option*> add_data_settings(CLI::App& command, DataOptions& o,
                                            const char* fractions_name) {
  return {
      command.add_option("--classes", o.classes, "REAL,FAKE: names of the two classes' folders"),
      command
          .add_option("--label-positive", o.label_positive,
                      "What a table's label 1 means, where no label_str and no folder says it")
          ->check(CLI::IsMember({"real", "fake"})),
      command
          .add_option(fractions_name, o.fractions,
                      "Shares of train, valid and test (.8,.1,.1) of a set without splits, by "
                      "--seed; copies of one file stay together")
          ->delimiter(','),
      command.add_option("--group-column", o.group_column,
                         "Column of the table: rows with one value stay in one split"),
      add_choice(
          command, "--on-bad", o.on_bad,
          "Pictures that cannot be read: skip (the default: left out and listed, and eval ends "
          "with "
          "exit code 3) or fail")};
}

}  // namespace dfengine
