// The vectorised float function of kernels/image_normalize.h, one table per instruction set.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/image_normalize.h"

namespace dfengine::cpu {

struct ImageNormalizeTable {
  decltype(&image_normalize<float>) normalize;
};
DF_ISA_TABLE(ImageNormalizeTable, image_normalize_table)

}  // namespace dfengine::cpu
