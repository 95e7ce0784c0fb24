// A plan for people: a table of its steps, and a drawing of its graph.
#pragma once

#include <string>

#include "engine/plan/plan.h"

namespace dfengine {

// One line per step: layer, kind, output shape, where its buffers lie; then the totals.
std::string dump_text(const Plan& plan);

// Graphviz DOT of the graph after fusion: `dot -Tsvg`.
std::string dump_dot(const Plan& plan);

}  // namespace dfengine
