// The vectorised float functions of kernels/activation.h, one table per instruction set.
#pragma once

#include "kernels/activation.h"
#include "kernels/cpu/isa.h"

namespace dfengine::cpu {

struct ActivationTable {
  decltype(&activation_forward<float>) forward;
  decltype(&activation_backward<float>) backward;
};
DF_ISA_TABLE(ActivationTable, activation_table)

}  // namespace dfengine::cpu
