#include "engine/report/environment.h"

#include <fstream>

#include "kernels/base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/cuda/context.h"

namespace dfengine::report {

std::string processor() {
  constexpr std::string_view kKey = "model name";
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with(kKey) && colon != line.npos) return line.substr(colon + 2);
  }
  return "unknown";
}

Facts environment(int threads) {
  Facts facts = {{"dfengine", DFENGINE_VERSION},
                 {"processor", processor()},
                 {"instruction set", cpu::isa_name(cpu::current_isa())},
                 {"threads", std::to_string(threads)}};
  if (!cuda::available()) return facts;
  try {
    facts.emplace_back("GPU", cuda::device_summary());
  } catch (
      const DeviceError& e) {  // one that failed its self-test may have taken the context along
    facts.emplace_back("GPU", std::string("cannot be used: ") + e.what());
  }
  return facts;
}

}  // namespace dfengine::report
