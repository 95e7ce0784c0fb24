// The vectorised float functions of kernels/residual_add.h, one table per instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/residual_add.h"

namespace dfengine::cpu {

struct ResidualAddTable {
  decltype(&residual_add<float>) forward;
  decltype(&residual_add_backward<float>) backward;
};
DF_ISA_TABLE(ResidualAddTable, residual_add_table)

}  // namespace dfengine::cpu
