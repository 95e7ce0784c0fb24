#include "apps/dfengine/arguments/data.h"

#include "apps/dfengine/arguments/choice.h"

namespace dfengine {

void add_data_places(CLI::App& command, DataOptions& o) {
  const auto add = [&](const char* name, std::filesystem::path& path, const char* help,
                       const char* usual) {
    command.add_option(name, path, help)->default_str(usual)->group("Data");
  };
  add("--data", o.data,
      "Folder of pictures or packed file (see below). With tables: the folder that their paths "
      "begin at.",
      "none; with tables each table's own folder");
  add("--csv", o.csv,
      "Table of pictures (see below). With --valid-csv and --test-csv: that of the training "
      "pictures.",
      "none");
  add("--valid-csv", o.valid_csv, "Table of the validation pictures.", "none");
  add("--test-csv", o.test_csv, "Table of the test pictures.", "none");
}

std::vector<CLI::Option*> add_data_settings(CLI::App& command, DataOptions& o,
                                            const char* fractions_name) {
  std::vector<CLI::Option*> all = {
      command
          .add_option("--classes", o.classes, "REAL,FAKE: the names of the two classes' folders.")
          ->default_str("the usual ones, see below"),
      command
          .add_option("--label-positive", o.label_positive,
                      "What a table's label 1 means where neither label_str nor a folder says it.")
          ->check(CLI::IsMember({"real", "fake"}))
          ->default_str("none, such a table is refused"),
      command
          .add_option(fractions_name, o.fractions,
                      "Shares of train, valid and test, such as .8,.1,.1, by which a set without "
                      "splits is divided, drawn by --seed. Copies of one file stay together.")
          ->delimiter(',')
          ->default_str("none, the set is not divided"),
      command
          .add_option("--group-column", o.group_column,
                      "A column of the table: when the set is divided, rows with the same value "
                      "stay together.")
          ->default_str("none"),
      add_choice(command, "--on-bad", o.on_bad,
                 "What becomes of pictures that cannot be read: skip leaves them out and lists "
                 "them, fail stops at the first.")};
  for (CLI::Option* option : all) option->group("Data");
  return all;
}

}  // namespace dfengine
