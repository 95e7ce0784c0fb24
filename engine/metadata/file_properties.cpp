#include "engine/metadata/file_properties.h"

#include "kernels/error.h"

namespace dfengine {

void append_file_properties(CsvTable& table, const std::filesystem::path& root,
                            const std::string& name) {
  (void)table;
  (void)root;
  (void)name;
}

}  // namespace dfengine
