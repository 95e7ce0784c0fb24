// wgmma: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions". Each warp makes its own 16
// rows.
#pragma once

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

// d += a b for 64 rows, from descriptors of both factors. mode is 1 for .bf16.
void start_product(Warp& warp, const Instruction& instruction, Lanes mask);
void begin_products(Warp& warp, const Instruction& instruction, Lanes mask);
void commit_products(Warp& warp, const Instruction& instruction, Lanes mask);
void wait_for_products(Warp& warp, const Instruction& instruction, Lanes mask);
bool products_are_pending(const Warp& warp);
// fence.proxy.async
void publish(Warp& warp, const Instruction& instruction, Lanes mask);

}  // namespace dfengine::ptx
