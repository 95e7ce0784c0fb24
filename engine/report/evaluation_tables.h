// Figures under changes and of each group, as tables of the report page and as text for the
// terminal.
#pragma once

#include <string>
#include <vector>

#include "engine/evaluate/metrics/groups.h"
#include "engine/evaluate/robustness.h"
#include "engine/evaluate/unsure.h"
#include "engine/report/html.h"

namespace dfengine {

report::Table to_table(const std::vector<RobustnessRow>& rows);
report::Table to_table(const std::vector<GroupRow>& rows, const std::string& by);
report::Table to_table(const UnsureCount& count);
// The text ends with a line break.
std::string to_text(const std::vector<RobustnessRow>& rows);

}  // namespace dfengine
