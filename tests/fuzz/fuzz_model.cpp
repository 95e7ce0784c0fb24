// libFuzzer target for what a model file says beside its tensors, hybrid and cascade included;
// tests/fuzz.sh builds and runs it.
#include <cstdlib>

#include "engine/model/model_metadata.h"
#include "engine/tables/metadata/metadata_model.h"
#include "kernels/base/error.h"
#include "tests/fuzz/entries.h"

namespace {

using namespace dfengine;

// What was read can be written and read again unchanged.
void check_written(const ModelMetadata& model) {
  const auto written = write_metadata(model);
  const auto again = write_metadata(read_metadata(written, {}, "again"));
  if (written != again) std::abort();
}

void check_tables(const TableModels& models) {
  if (models.hybrid &&
      to_note(*models.hybrid) !=
          to_note(*read_table_models({{kHybridEntry, to_note(*models.hybrid)}}, "").hybrid))
    std::abort();
  if (models.cascade &&
      to_note(*models.cascade) !=
          to_note(*read_table_models({{kCascadeEntry, to_note(*models.cascade)}}, "").cascade))
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto entries = fuzz::entries_of({reinterpret_cast<const char*>(data), size});
  try {
    const auto model = read_metadata(entries, {}, "fuzz");
    check_written(model);
  } catch (const Error&) {
  }
  try {
    check_tables(read_table_models(entries, "fuzz"));
  } catch (const ModelFileError&) {
  }
  return 0;
}
