// The vectorised functions of the kernels that read their arrays once, one table per
// instruction set.
#pragma once

#include "kernels/activation.h"
#include "kernels/adam.h"
#include "kernels/cpu/isa.h"
#include "kernels/global_average_pool.h"
#include "kernels/image_normalize.h"
#include "kernels/resample.h"
#include "kernels/residual_add.h"

namespace dfengine::cpu {

template <class T>
struct ActivationTable {
  decltype(&activation_forward<T>) forward;
  decltype(&activation_backward<T>) backward;
};
DF_ISA_TABLE(ActivationTable, activation_table)

struct AdamTable {
  decltype(&adam_update<float>) update;
};
DF_FLOAT_ISA_TABLE(AdamTable, adam_table)

template <class T>
struct GlobalAveragePoolTable {
  decltype(&global_average_pool_forward<T>) forward;
  decltype(&global_average_pool_backward<T>) backward;
};
DF_ISA_TABLE(GlobalAveragePoolTable, global_average_pool_table)

template <class T>
struct ImageNormalizeTable {
  decltype(&image_normalize<T>) normalize;
};
DF_ISA_TABLE(ImageNormalizeTable, image_normalize_table)

struct ResampleTable {
  decltype(&resample_row) row;
  decltype(&resample_column) column;
};
DF_FLOAT_ISA_TABLE(ResampleTable, resample_table)

template <class T>
struct ResidualAddTable {
  decltype(&residual_add<T>) forward;
  decltype(&residual_add_backward<T>) backward;
};
DF_ISA_TABLE(ResidualAddTable, residual_add_table)

}  // namespace dfengine::cpu
