#include "kernels/cuda/tuning/tuner.h"

namespace dfengine::cuda {
namespace {

constexpr int kRounds = 3;
// What takes so many times as long as the best candidate in the first round is out of the race.
constexpr double kHopeless = 1.5;

// Why body cannot be used; "": it can.
std::string failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const DeviceLost&) {
    throw;
  } catch (const DeviceError& e) {
    return e.what();
  }
  return "";
}

struct Contestant {
  const Candidate& candidate;
  std::vector<double> us = {};
  bool races = true;
  std::string failure = {};

  // tried: what takes the measurement, or does not.
  void run(const Measure& measure, const std::function<void(const std::function<void()>&)>& tried) {
    failure = failure_of([&] { tried([&] { us.push_back(measure(candidate)); }); });
    races = failure.empty();
  }
  double median() const {
    std::vector<double> sorted = us;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }
};

// The first round warms up and leaves out what is far behind; only there may a kernel end the
// process, for later rounds launch the same once more. The candidate of the rule, which is
// the first, stays in the race because its time is reported, and runs whatever happened before, for
// without it there may be none.
void race(const std::string& problem, std::vector<Contestant>& all, const Measure& measure,
          DenyList& denied) {
  std::optional<double> best;
  for (Contestant& c : all) {
    c.run(measure, [&](const auto& body) {
      if (&c == &all[0]) return body();
      denied.attempt(problem + ", " + c.candidate.name, body);
    });
    if (c.races && (!best || c.us[0] < *best)) best = c.us[0];
  }
  for (Contestant& c : all) {
    if (c.races && &c != &all[0] && c.us[0] > kHopeless * *best) c.races = false;
    c.us.clear();
  }
  // All take turns, so that a clock that changes meanwhile changes for all.
  for (int round = 0; round < kRounds; ++round)
    for (Contestant& c : all)
      if (c.races) c.run(measure, [](const auto& body) { body(); });
}

// left_out holds what failed before the race.
Choice winner(const std::string& problem, const std::vector<Contestant>& all,
              std::vector<std::string> left_out) {
  const Contestant* best = nullptr;
  for (const Contestant& c : all) {
    if (!c.failure.empty()) left_out.push_back(c.candidate.name + ": " + c.failure);
    if (c.races && (best == nullptr || c.median() < best->median())) best = &c;
  }
  if (best == nullptr) {
    std::string reasons;
    for (const std::string& reason : left_out) reasons += "\n  " + reason;
    throw DeviceError(problem + ": every candidate failed when it was timed:" + reasons);
  }
  const Contestant& rule = all[0];
  return {.name = best->candidate.name,
          .scratch = best->candidate.scratch,
          .timed = true,
          .us = best->median(),
          .rule = rule.candidate.name,
          .rule_us = rule.races ? rule.median() : 0,
          .left_out = std::move(left_out)};
}

}  // namespace

void Tuner::ask(const std::string& problem, std::vector<std::string>& left_out,
                const std::function<void()>& library) {
  const std::string reason =
      failure_of([&] { denied_.attempt(problem + ", asking a library", library); });
  if (!reason.empty()) left_out.push_back("library: " + reason);
}

bool Tuner::passes(const std::string& key, const std::function<void()>& check) {
  if (const auto found = checked_.find(key); found != checked_.end()) return found->second;
  const std::string reason = failure_of([&] { denied_.attempt(key, check); });
  if (!reason.empty()) failed_.push_back(key + ": " + reason);
  return checked_[key] = reason.empty();
}

Choice Tuner::time(TunerProblem problem, const std::vector<Candidate>& candidates,
                   std::vector<std::string> left_out) {
  Choice by_rule = choose_by_rule(candidates);
  by_rule.left_out = std::move(left_out);
  if (candidates.size() == 1) return by_rule;
  Index scratch = 0;
  for (const Candidate& c : candidates) scratch = std::max(scratch, c.scratch);
  problem.operands.push_back({StorageType::F32, divide_up(scratch, kFloatBytes)});
  Measure measure;
  try {
    measure = start_measuring_(problem);
  } catch (const DeviceError& e) {
    // A run that fits into the device's memory must not fail for want of room to time it.
    by_rule.left_out.push_back(std::string("not timed: ") + e.what());
    return by_rule;
  }
  std::vector<Contestant> all;
  for (const Candidate& c : candidates) all.push_back({.candidate = c});
  race(problem.key, all, measure, denied_);
  return winner(problem.key, all, std::move(by_rule.left_out));
}

}  // namespace dfengine::cuda
