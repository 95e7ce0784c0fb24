// A plan for people: a table of its steps, and a drawing of its graph.
#pragma once

#include <string>

#include "engine/plan/plan.h"

namespace dfengine {

// One line per step: layer, kind, output shape, where its buffers lie, and, where a backend chooses
// between kernels, which it takes; then the totals.
std::string dump_text(const Plan& plan, bool with_kernels);

// Which kernels a step launches, and why these: "128x96x16, by rule".
std::string kernels_text(const Plan& plan, const Step& step);

// Graphviz DOT of the graph after fusion: `dot -Tsvg`.
std::string dump_dot(const Plan& plan);

}  // namespace dfengine
