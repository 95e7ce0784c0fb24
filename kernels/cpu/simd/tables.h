// The vectorised float functions of the kernels that read their arrays once, one table per
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

struct ActivationTable {
  decltype(&activation_forward<float>) forward;
  decltype(&activation_backward<float>) backward;
};
DF_ISA_TABLE(ActivationTable, activation_table)

struct AdamTable {
  decltype(&adam_update<float>) update;
};
DF_ISA_TABLE(AdamTable, adam_table)

struct GlobalAveragePoolTable {
  decltype(&global_average_pool_forward<float>) forward;
  decltype(&global_average_pool_backward<float>) backward;
};
DF_ISA_TABLE(GlobalAveragePoolTable, global_average_pool_table)

struct ImageNormalizeTable {
  decltype(&image_normalize<float>) normalize;
};
DF_ISA_TABLE(ImageNormalizeTable, image_normalize_table)

struct ResampleTable {
  decltype(&resample_row) row;
  decltype(&resample_column) column;
};
DF_ISA_TABLE(ResampleTable, resample_table)

struct ResidualAddTable {
  decltype(&residual_add<float>) forward;
  decltype(&residual_add_backward<float>) backward;
};
DF_ISA_TABLE(ResidualAddTable, residual_add_table)

}  // namespace dfengine::cpu
