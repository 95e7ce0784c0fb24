// The product of floats: a step of depth is one of them.
#include "kernels/cpu/simd/matrix_tiles.h"

namespace dfengine::cpu::DF_ISA {

extern const MatrixTable<float> matrix = {&multiply_block<float, Order::RowMajor>,
                                          &multiply_block<float, Order::Transposed>};

}  // namespace dfengine::cpu::DF_ISA
