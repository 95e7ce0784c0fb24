#include "engine/train/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "engine/runtime/program_id.h"
#include "kernels/base/checksum.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "kernels/cpu/isa.h"

namespace dfengine {
namespace {

using nlohmann::json;

template <class Fault>
void require_same(Communicator& ranks, const std::string& what, const std::string& mine,
                  const char* advice) {
  const std::string difference = ranks.difference(mine);
  if (!difference.empty())
    throw Fault("the processes of this run differ in " + what + ": " + difference + "; " + advice);
}

std::string digest_of(ParameterStore& parameters) {
  return std::to_string(checksum(std::as_bytes(parameters.floats())));
}

}  // namespace

Cut cut_of(const TrainOptions& options, Communicator& ranks) {
  if (options.fast_reduce) {
    Cut cut = Cut::of(ranks.size(), ranks);
    cut.fast = true;
    return cut;
  }
  if (options.slices == 0 && ranks.size() > 1)
    throw UsageError(
        "the run was begun in one process, with whole batches: go on with one, or "
        "begin a run with --slices");
  return Cut::of(std::max(options.slices, Index{1}), ranks);
}

int number_on_machine(Communicator& ranks) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::vector<std::string> all = ranks.gather(host.data());
  const auto mine = all.begin() + ranks.rank();
  return static_cast<int>(std::count(all.begin(), mine, *mine));
}

std::string describe_cut(const TrainOptions& options, const Communicator& ranks) {
  if (!options.fast_reduce) return "";
  const std::string n = std::to_string(ranks.size());
  return "--fast-reduce: " + (ranks.size() > 1 ? n + " processes take" : "one process takes") +
         " a part of each batch as one; the result depends on their number, also after --resume "
         "with another";
}

void require_same_run(Communicator& ranks, const TrainOptions& options, const std::string& data,
                      const TrainState& state, ParameterStore& parameters) {
  if (ranks.size() == 1) return;
  require_same<Error>(ranks, "program", DFENGINE_VERSION " " + program_id(),
                      "install the same build everywhere");
  require_same<Error>(ranks, "instruction set", cpu::isa_name(cpu::current_isa()),
                      "their results would differ in the last bits: set DFENGINE_ISA to one that "
                      "all have");
  require_same<DataError>(ranks, "pictures", data, "they must all see the same data");
  json settings = to_json(options);
  settings.erase("threads");
  for (const auto& [key, value] : settings.items())
    require_same<UsageError>(ranks, "the setting " + key, value.dump(),
                             "give all the same command line");
  require_same<Error>(ranks, "the step they begin at", std::to_string(state.total_steps),
                      "they must all read the same checkpoint");
  require_same<Error>(ranks, "initial parameters", digest_of(parameters),
                      "they must all read the same weights");
}

void require_same_values(Communicator& ranks, ParameterStore& parameters) {
  if (ranks.size() > 1)
    require_same<Error>(ranks, "what they learned", digest_of(parameters),
                        "a machine computes wrongly; the last checkpoint is whole");
}

void share_left_out(Communicator& ranks, std::vector<LeftOut>& left_out) {
  json mine = json::array();
  for (const LeftOut& bad : left_out) mine.push_back({bad.index, bytes_to_json(bad.reason)});
  left_out.clear();
  for (const std::string& text : ranks.gather(mine.dump()))
    for (const json& bad : json::parse(text))
      left_out.push_back({bad.at(0), bytes_from_json(bad.at(1))});
}

}  // namespace dfengine
