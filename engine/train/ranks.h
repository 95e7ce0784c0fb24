// What the processes of one run tell each other beside sums: that they are one run, and which
// pictures they left out.
#pragma once

#include "engine/data/loader.h"
#include "engine/runtime/ranks/slices.h"
#include "engine/train/checkpoint.h"

namespace dfengine {

// Where several processes train and nobody said how many.
inline constexpr Index kUsualSlices = 8;

// How a run's batches are cut. Throws UsageError where several processes have whole batches.
Cut cut_of(const TrainOptions& options, Communicator& ranks);
// How many ranks below this one run on the same machine: which of its devices this one takes.
int number_on_machine(Communicator& ranks);
// What a person must know of the cut; else "".
std::string describe_cut(const TrainOptions& options, const Communicator& ranks);

// Throws Error, DataError for data, on every rank where they differ in program, instruction set,
// pictures, options or the place where they begin.
void require_same_run(Communicator& ranks, const TrainOptions& options, const std::string& data,
                      const TrainState& state, ParameterStore& parameters);
// The same for parameters alone, which all ranks move alike.
void require_same_values(Communicator& ranks, ParameterStore& parameters);

// Tells the others what this rank left out, and hears of theirs: the same on every rank.
void share_left_out(Communicator& ranks, std::vector<LeftOut>& left_out);

}  // namespace dfengine
