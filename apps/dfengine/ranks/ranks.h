// The processes that a launcher started together: mpirun, srun, torchrun.
#pragma once

#include <memory>
#include <string>

#include "engine/runtime/ranks/communicator.h"

namespace dfengine {

// Joins the others. Throws UsageError where a launcher started several processes that this build
// cannot join, which would else be as many runs of their own.
std::unique_ptr<Communicator> join_ranks();

// "rank 1 of 4: " for messages, where there are several.
std::string rank_prefix();
// After a fault: ends the others at once, which may wait for this process, and this one, with the
// code. Returns where they find out by themselves, and where there are none.
void end_ranks(int code);

}  // namespace dfengine
