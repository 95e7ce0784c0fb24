// How long one node of a graph takes by itself: what a plan compares a fusion and what
// it replaces by.
#pragma once

#include "engine/runtime/backend.h"

namespace dfengine {

// Microseconds of the node's forward and, where the query has one, backward on random numbers: the
// median of several rounds. Throws DeviceError where it cannot run.
double time_node(const Backend& backend, const Node& node, const KernelQuery& query);

}  // namespace dfengine
