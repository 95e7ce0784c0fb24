// The vectorised functions of kernels/batch_norm.h, one table per instruction set.
#pragma once

#include "kernels/batch_norm.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/simd/batch_norm_layout.h"

namespace dfengine::cpu {

template <class T>
struct BatchNormTable {
  decltype(&batch_norm_forward<T>) forward;
  decltype(&batch_norm_again<T>) again;
  decltype(&batch_norm_backward<T>) backward;
  decltype(&batch_norm_frozen_forward<T>) frozen_forward;
  decltype(&batch_norm_frozen_backward<T>) frozen_backward;
  decltype(&batch_norm_forward_sums<T>) forward_sums;
  decltype(&batch_norm_forward_rest<T>) forward_rest;
  decltype(&batch_norm_backward_sums<T>) backward_sums;
  decltype(&batch_norm_backward_rest<T>) backward_rest;
};
DF_ISA_TABLE(BatchNormTable, batch_norm_table)

}  // namespace dfengine::cpu
