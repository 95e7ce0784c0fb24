// How the interpreter runs, by environment variables: see README.md.
#pragma once

#include <cstddef>
#include <string>

namespace dfengine::ptx {

enum class Order { Forward, Backward, Random };

struct Settings {
  // PTX_ORDER=forward, backward, random: of warps and blocks.
  Order order;
  // PTX_COPIES=late: a cp.async lands when it is waited for; early: at once.
  bool late_copies;
  // PTX_STREAMS=late: work runs when something waits for it; early: at once.
  bool late_streams;
  // PTX_SUMS=truncated: as tensor cores add; rounded: each sum in float.
  bool truncating;
  // PTX_DEVICE=stand-in: tests are shorter and plans are made by the rule; gpu: all cases, timed
  // plans.
  bool is_stand_in;
  // PTX_SHARED_LIMIT=BYTES: what a block may have.
  std::size_t shared_limit;
  // PTX_PARSE=all: also kernels that are not launched; launched: only those.
  bool parses_all;
  // PTX_DUMP=FOLDER: writes the program's PTX there.
  std::string dump;
  // PTX_REPLACE=FOLDER: modules found there are run instead.
  std::string replacements;
  // PTX_LAUNCHES=FILE: appends a line for each kernel.
  std::string launches;
  // PTX_TRAFFIC=FILE: counts what kernels ask of memory, and writes a line for each that was
  // launched.
  std::string traffic;
  // PTX_LINES=FILE: writes how many warp instructions each line of the sources came to, by kernel.
  std::string lines;
};

const Settings& settings();

}  // namespace dfengine::ptx
