// The vectorised float function of kernels/adam.h, one table per instruction set.
#pragma once

#include "kernels/adam.h"
#include "kernels/cpu/isa.h"

namespace dfengine::cpu {

struct AdamTable {
  decltype(&adam_update<float>) update;
};
DF_ISA_TABLE(AdamTable, adam_table)

}  // namespace dfengine::cpu
