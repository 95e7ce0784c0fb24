// Parts of a set that belong together: of one generator, source or camera.
#pragma once

#include <string>
#include <vector>

#include "engine/data/sets/source.h"

namespace dfengine {

// What a table's group column says of the sample, else the folder that it lies in, from the set's
// root.
std::string group_of(const Sample& sample);

// The source with these groups taken out of all splits; they are its last split, "held out". Throws
// UsageError where a group is not there, and where a split would be left without a class.
DataSource hold_out(DataSource source, const std::vector<std::string>& groups);

// Takes the samples of these groups out of a set: of exactly this name, or in a folder of it.
// Returns them as a set of their own, whose split is called "held out".
Dataset take_groups(Dataset& from, const std::vector<std::string>& groups);

}  // namespace dfengine
