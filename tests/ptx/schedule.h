// In which order warps and blocks take their turns.
#pragma once

#include "tests/ptx/settings.h"

namespace dfengine::ptx {

// At first as the settings say.
Order order();
void set_order(Order order);

}  // namespace dfengine::ptx
