// Runs predict --csv, on pictures with the columns of a table beside them.
#pragma once

#include <filesystem>
#include <string>

#include "apps/dfengine/common.h"
#include "engine/model/model.h"

namespace dfengine {

// Prints the probability, the verdict and what decided for every row of csv, in the format table,
// csv or json. The paths start from `data`, or from the table's folder where this is empty.
void predict_table(Model& model, const std::filesystem::path& model_file,
                   const std::filesystem::path& csv, const std::filesystem::path& data,
                   const std::string& format, const DeviceOptions& device);

}  // namespace dfengine
