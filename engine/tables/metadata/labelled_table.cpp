#include "engine/tables/metadata/labelled_table.h"

#include "engine/data/sets/csv_source.h"
#include "kernels/base/error.h"

namespace dfengine {

LabelledTable label_table(CsvTable table, const std::string& label_positive,
                          const std::string& name) {
  if (table.rows.empty()) throw DataError(name + ": there are no rows");
  std::string rule;
  std::vector<int> label = table_labels(table, name, ClassNames(), label_positive, rule);
  return {name, std::move(table), std::move(label)};
}

LabelledTable read_labelled_csv(const std::filesystem::path& file,
                                const std::string& label_positive) {
  return label_table(read_csv(file), label_positive, file.string());
}

}  // namespace dfengine
