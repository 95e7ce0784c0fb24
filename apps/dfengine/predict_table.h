// predict --csv: pictures with the columns of a table beside them.
#pragma once

#include <filesystem>
#include <string>

#include "apps/dfengine/common.h"
#include "engine/model/model.h"

namespace dfengine {

// Prints probability, verdict and what decided for every row of csv; format: table, csv or json.
// data: where the paths start; empty: the table's folder.
void predict_table(Model& model, const std::filesystem::path& model_file,
                   const std::filesystem::path& csv, const std::filesystem::path& data,
                   const std::string& format, const DeviceOptions& device);

}  // namespace dfengine
