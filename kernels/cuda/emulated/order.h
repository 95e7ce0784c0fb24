// In which order the emulated threads of a block, and the blocks of a grid, take their turns.
#pragma once

namespace dfengine::cuda::emulated {

enum class Order { Forward, Backward };
void set_order(Order order);

}  // namespace dfengine::cuda::emulated
