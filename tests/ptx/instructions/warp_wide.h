// Instructions of a whole warp: PTX ISA, "mma", "ldmatrix", "shfl.sync", "bar.warp.sync",
// "barrier.cluster", "cp.async".
#pragma once

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

void multiply_f16(Warp& warp, const Instruction& instruction, Lanes mask);
void multiply_bf16(Warp& warp, const Instruction& instruction, Lanes mask);
// mode is 1 for .trans.
void load_matrix(Warp& warp, const Instruction& instruction, Lanes mask);

enum Shuffle { kButterfly, kDown, kUp, kIndex };
void shuffle(Warp& warp, const Instruction& instruction, Lanes mask);
void synchronise_warp(Warp& warp, const Instruction& instruction, Lanes mask);
void arrive_at_cluster_barrier(Warp& warp, const Instruction& instruction, Lanes mask);
// PTX ISA, "griddepcontrol". Kernels run one after the other here, so both only leave their mark.
void launch_next(Warp& warp, const Instruction& instruction, Lanes mask);
void await_previous(Warp& warp, const Instruction& instruction, Lanes mask);

void copy(Warp& warp, const Instruction& instruction, Lanes mask);
void commit_copies(Warp& warp, const Instruction& instruction, Lanes mask);
void wait_for_copies(Warp& warp, const Instruction& instruction, Lanes mask);
bool copies_are_pending(const Warp& warp);

// Reports when not all lanes take part: undefined on hardware.
void check_whole_warp(const Warp& warp, Lanes mask);

}  // namespace dfengine::ptx
