// At which size a run takes its pictures, and what that costs.
#pragma once

#include <optional>
#include <string>

#include "engine/data/sets/dataset.h"
#include "engine/train/options.h"

namespace dfengine {

// The side that nearly all of these pictures have, all of them squares, where a network takes it as
// it is and it is near the usual 224: a multiple of 32 from 192 to 320. Reads the headers of some
// of them.
std::optional<Index> native_side(const Dataset& pictures);

// Whether options leave the size to the pictures: neither it nor a way to resize was named.
bool asks_for_native_side(const TrainOptions& options);

// Lines for people: why pictures are taken at that size, and what a stem of stride 1 costs; empty
// where nothing is unusual.
std::string describe_size(const TrainOptions& options, const Network& network,
                          std::optional<Index> native);

}  // namespace dfengine
