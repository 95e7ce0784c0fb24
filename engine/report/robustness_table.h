// The robustness figures as a table of the report page and as text for the terminal.
#pragma once

#include <string>
#include <vector>

#include "engine/evaluate/robustness.h"
#include "engine/report/html.h"

namespace dfengine {

report::Table to_table(const std::vector<RobustnessRow>& rows);
// The text ends with a line break.
std::string to_text(const std::vector<RobustnessRow>& rows);

}  // namespace dfengine
