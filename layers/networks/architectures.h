// The table of architectures, and networks made from it. A new one is a builder and its row.
#pragma once

#include "layers/networks/network.h"

namespace dfengine {

std::span<const Architecture> architectures();

// The architecture of this name. Throws UsageError naming those there are.
const Architecture& architecture(std::string_view name,
                                 std::span<const Architecture> table = architectures());

// The network of a configuration. Throws as architecture() does, and ShapeError where the
// configuration's sizes do not fit each other.
Network make_network(const NetworkConfig& config,
                     std::span<const Architecture> table = architectures());

}  // namespace dfengine
