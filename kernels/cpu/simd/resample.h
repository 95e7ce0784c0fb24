// The vectorised functions of kernels/resample.h, one table per instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/resample.h"

namespace dfengine::cpu {

struct ResampleTable {
  decltype(&resample_row) row;
  decltype(&resample_column) column;
};
DF_ISA_TABLE(ResampleTable, resample_table)

}  // namespace dfengine::cpu
