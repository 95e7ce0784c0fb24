// The vectorised float functions of kernels/global_average_pool.h, one table per instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/global_average_pool.h"

namespace dfengine::cpu {

struct GlobalAveragePoolTable {
  decltype(&global_average_pool_forward<float>) forward;
  decltype(&global_average_pool_backward<float>) backward;
};
DF_ISA_TABLE(GlobalAveragePoolTable, global_average_pool_table)

}  // namespace dfengine::cpu
