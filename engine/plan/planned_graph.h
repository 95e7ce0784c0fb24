// From a network's graph to the one that a plan runs: its rewrites, and which of them pay.
#pragma once

#include "engine/plan/plan_options.h"

namespace dfengine {

// The values of outputs of these names.
std::vector<ValueId> values_of(const Graph& graph, const std::vector<std::string>& outputs);

struct PlannedGraph {
  Graph graph;
  // What was slower, or could not be offered, where a plan says so.
  std::vector<std::string> left_out;
};

// Where the maker times nodes the clock decides between forms, elsewhere the fused one is taken.
// Throws as Plan::build.
PlannedGraph planned_graph(const Graph& graph, std::span<const Spec> input_specs,
                           const PlanOptions& options, const KernelMaker& maker);

}  // namespace dfengine
