#include "tests/ptx/settings.h"

#include <cstdlib>

#include "tests/ptx/report.h"

namespace dfengine::ptx {
namespace {

std::string variable(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

// Whether the variable says `yes` rather than `no`, which it says where it is not set.
bool choice(const char* name, const std::string& yes, const std::string& no) {
  const std::string value = variable(name, no.c_str());
  if (value != yes && value != no) stop(std::string(name) + " is neither " + yes + " nor " + no);
  return value == yes;
}

Order order() {
  const std::string value = variable("PTX_ORDER", "forward");
  if (value == "forward") return Order::Forward;
  if (value == "backward") return Order::Backward;
  if (value == "random") return Order::Random;
  stop("PTX_ORDER is neither forward nor backward nor random");
}

// An H100's: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
constexpr const char* kSharedLimit = "232448";

}  // namespace

const Settings& settings() {
  static const Settings values{
      .order = order(),
      .late_copies = !choice("PTX_COPIES", "early", "late"),
      .late_streams = choice("PTX_STREAMS", "late", "early"),
      .truncating = !choice("PTX_SUMS", "rounded", "truncated"),
      .is_stand_in = choice("PTX_DEVICE", "stand-in", "gpu"),
      .shared_limit = std::stoul(variable("PTX_SHARED_LIMIT", kSharedLimit)),
      .parses_all = choice("PTX_PARSE", "all", "launched"),
      .dump = variable("PTX_DUMP", ""),
      .replacements = variable("PTX_REPLACE", ""),
      .launches = variable("PTX_LAUNCHES", ""),
      .traffic = variable("PTX_TRAFFIC", ""),
      .lines = variable("PTX_LINES", ""),
  };
  return values;
}

}  // namespace dfengine::ptx
