// How long one node of a graph takes by itself: what a plan compares a fusion and what
// it replaces by.
#pragma once

#include "engine/runtime/backend.h"

namespace dfengine {

// Microseconds of the node's forward and, where the query has one, backward on random numbers: the
// median of several rounds. None where the backend has no room for its tensors beside what it
// holds. Throws DeviceError where it cannot run.
std::optional<double> time_node(const Backend& backend, const Node& node, const KernelQuery& query);

}  // namespace dfengine
