// How the interpreter runs, by environment variables: see README.md.
#pragma once

#include <cstddef>
#include <string>

namespace dfengine::ptx {

enum class Order { Forward, Backward, Random };

struct Settings {
  Order order;        // PTX_ORDER=forward, backward, random: of warps and blocks
  bool late_copies;   // PTX_COPIES=late: a cp.async lands when it is waited for; early: at once
  bool late_streams;  // PTX_STREAMS=late: work runs when something waits for it; early: at once
  bool truncating;    // PTX_SUMS=truncated: as tensor cores add; rounded: each sum in float
  std::size_t shared_limit;  // PTX_SHARED_LIMIT: bytes a block may have
  std::string dump;          // PTX_DUMP=FOLDER: writes the programs' PTX there
  std::string replacements;  // PTX_REPLACE=FOLDER: modules found there are run instead
  std::string launches;      // PTX_LAUNCHES=FILE: appends a line for each kernel
};

const Settings& settings();

}  // namespace dfengine::ptx
