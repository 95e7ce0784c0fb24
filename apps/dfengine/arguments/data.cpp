#include "apps/dfengine/arguments/data.h"

#include "apps/dfengine/arguments/settings.h"

namespace dfengine {

std::vector<CLI::Option*> add_data(CLI::App& command, DataOptions& options,
                                   const char* fractions_flag) {
  std::vector<CLI::Option*> settings;
  for (DataOption row : data_options()) {
    if (row.name() == "--fractions") row.flag = fractions_flag;
    CLI::Option* option = add_row(command, row, options)->group("Data");
    if (!std::holds_alternative<std::filesystem::path DataOptions::*>(row.place))
      settings.push_back(option);
  }
  return settings;
}

void add_table_columns(CLI::App& command, DataOptions& options) {
  for (const char* flag : {"--classes", "--label-positive", "--path-column", "--label-column"})
    add_row(command, row_of(data_options(), flag), options);
  command.get_option("--classes")->default_str("the usual ones, such as real and fake");
}

}  // namespace dfengine
