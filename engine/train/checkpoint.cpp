#include "engine/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/json_integer.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr const char* kFirst = "optimizer.first_moment";
constexpr const char* kSecond = "optimizer.second_moment";
constexpr const char* kAverage = "model_ema";
constexpr const char* kState = kTrainState;
constexpr const char* kOptions = "run_options";  // not the model's own note "train_args"
constexpr const char* kDigest = "data_digest";
// In the state: version 0.1 counted here alone on the CPU.
constexpr const char* kSteps = "optimizer_steps";

using nlohmann::json;

// JSON has no NaN: an AUC that does not exist is written as null.
double number(const json& j) {
  return j.is_null() ? std::nan("") : j.get<double>();
}

std::uint64_t count(const json& j) {
  const Index value = integer_from_json<Index>(j);
  if (value < 0) throw ModelFileError("a count of steps is negative");
  return static_cast<std::uint64_t>(value);
}

weights::Tensor moment(const char* name, const std::vector<float>& values) {
  return weights::make_tensor(name, {std::ssize(values)}, std::span<const float>(values));
}

// Takes a tensor out of the file, so that the model is left in it.
std::vector<float> take(weights::TensorFile& file, const char* name) {
  for (auto it = file.tensors.begin(); it != file.tensors.end(); ++it) {
    if (it->name != name) continue;
    std::vector<float> values = weights::to_float(*it);
    file.tensors.erase(it);
    return values;
  }
  throw ModelFileError(std::string("no tensor ") + name);
}

std::string take_entry(weights::TensorFile& file, const char* key) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) throw ModelFileError(std::string("no metadata entry ") + key);
  std::string value = found->second;
  file.metadata.erase(found);
  return value;
}

}  // namespace

// How the parts of a state stand in JSON. The library finds these beside their types.

static void to_json(json& j, const EpochRow& r) {
  j = {r.epoch, r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy, r.valid_auc,
       r.lr,    r.loss_scale, r.skipped,        r.seconds,    r.data_wait};
}

static void from_json(const json& j, EpochRow& r) {
  r = {integer_from_json<int>(j.at(0)),
       number(j.at(1)),
       number(j.at(2)),
       number(j.at(3)),
       number(j.at(4)),
       number(j.at(5)),
       number(j.at(6)),
       number(j.at(7)),
       integer_from_json<Index>(j.at(8)),
       number(j.at(9)),
       number(j.at(10))};
}

static void to_json(json& j, const BadFile& f) {
  j = {bytes_to_json(f.split), bytes_to_json(f.relative), bytes_to_json(f.reason)};
}

static void from_json(const json& j, BadFile& f) {
  f = {bytes_from_json(j.at(0)), bytes_from_json(j.at(1)), bytes_from_json(j.at(2))};
}

static void to_json(json& j, const Plateau& p) {
  j = {p.best, p.bad_epochs, p.factor};
}

static void from_json(const json& j, Plateau& p) {
  p = {j.at(0), integer_from_json<int>(j.at(1)), j.at(2)};
}

static void to_json(json& j, const ScalerState& s) {
  j = {s.step, s.skipped, s.loss_scale, s.good_steps};
}

static void from_json(const json& j, ScalerState& s) {
  s = {count(j.at(0)), count(j.at(1)), j.at(2), integer_from_json<std::uint32_t>(j.at(3))};
}

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainState, epoch, step, total_steps, loss_sum, seen, correct,
                                   last_lr, seconds, waited, best_auc, best_loss, best_epoch,
                                   plateau, rows, bad_files, finished, scaler)

// For the fields that the macro reads.
static void require_integers(const json& state) {
  for (const char* key : {"epoch", "best_epoch"})
    static_cast<void>(integer_from_json<int>(state.at(key)));
  for (const char* key : {"step", "total_steps", "seen", "correct"})
    static_cast<void>(integer_from_json<Index>(state.at(key)));
}

bool is_better(double auc, double loss, double best_auc, double best_loss) {
  return auc > best_auc || (auc == best_auc && loss < best_loss);
}

Index TrainState::skipped_in_epoch() const {
  auto skipped = static_cast<Index>(scaler.skipped);
  for (const EpochRow& row : rows) skipped -= row.skipped;
  return skipped;
}

void TrainState::begin_next_epoch(bool stop, int epochs) {
  ++epoch;
  step = 0;
  loss_sum = 0;
  seen = correct = 0;
  seconds = waited = 0;
  finished = stop || epoch >= epochs;
}

weights::TensorFile checkpoint_to_tensors(const Model& model, const Moments& moments,
                                          std::span<const float> average, const TrainState& state,
                                          const TrainOptions& options,
                                          const std::string& data_digest) {
  weights::TensorFile file = model_to_tensors(model);
  file.tensors.push_back(moment(kFirst, moments.first));
  file.tensors.push_back(moment(kSecond, moments.second));
  if (!average.empty())
    file.tensors.push_back(weights::make_tensor(kAverage, {std::ssize(average)}, average));
  json state_json = state;
  state_json[kSteps] = state.scaler.step;
  file.metadata[kState] = state_json.dump();
  file.metadata[kOptions] = to_json(options).dump();
  file.metadata[kDigest] = data_digest;
  return file;
}

void save_checkpoint(const std::filesystem::path& path, const Model& model, const Moments& moments,
                     std::span<const float> average, const TrainState& state,
                     const TrainOptions& options, const std::string& data_digest) {
  weights::write_safetensors(
      path, checkpoint_to_tensors(model, moments, average, state, options, data_digest));
}

Checkpoint checkpoint_from_tensors(weights::TensorFile file, const std::string& name_for_errors) {
  try {
    std::vector<float> first = take(file, kFirst), second = take(file, kSecond), average;
    if (file.find(kAverage) != nullptr) average = take(file, kAverage);
    const json state_json = json::parse(take_entry(file, kState));
    std::string data_digest = take_entry(file, kDigest);
    require_integers(state_json);
    TrainState state = state_json.get<TrainState>();
    state.scaler.step = count(state_json.at(kSteps));
    TrainOptions options = train_options_from_json(json::parse(take_entry(file, kOptions)));
    Checkpoint c{.model = model_from_tensors(file, "its model"),
                 .state = std::move(state),
                 .options = std::move(options),
                 .data_digest = std::move(data_digest),
                 .moments = {std::move(first), std::move(second)},
                 .average = std::move(average)};
    c.check();
    return c;
  } catch (const json::exception& e) {
    throw ModelFileError(name_for_errors + ": damaged checkpoint: " + json_fault(e));
  } catch (const Error& e) {
    throw ModelFileError(name_for_errors + ": not a checkpoint of a run: " + e.what());
  }
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  return checkpoint_from_tensors(weights::read_safetensors(path), path.string());
}

void Checkpoint::check() const {
  options.validate();
  (void)frozen_blocks(options.freeze, model.network);
  const auto learned = static_cast<std::size_t>(model.parameters.learned_count());
  const Index numbers[] = {state.epoch, state.step, state.seen, state.correct, state.best_epoch};
  if (model.config.head != Head::Detector) throw ModelFileError("the model is not a detector");
  if (moments.first.size() != learned || moments.second.size() != learned)
    throw ModelFileError("the optimiser's moments do not fit the model");
  const auto all = static_cast<std::size_t>(model.parameters.total_count());
  if (average.size() != (options.model_ema ? all : 0))
    throw ModelFileError("the moving average does not fit the model");
  if (std::ranges::any_of(numbers, [](Index n) { return n < 0; }) || state.epoch > options.epochs)
    throw ModelFileError("a number in the training state is out of range");
}

TrainOptions resumed_options(const TrainOptions& given, std::optional<int> epochs,
                             Checkpoint& checkpoint) {
  TrainOptions o = checkpoint.options;
  o.output = given.output;
  o.threads = given.threads;
  o.check_finite = given.check_finite;
  for (const auto place :
       {&DataOptions::data, &DataOptions::csv, &DataOptions::valid_csv, &DataOptions::test_csv})
    if (!(given.*place).empty()) o.*place = given.*place;
  if (!epochs || *epochs == o.epochs) return o;
  if (*epochs < o.epochs)
    throw UsageError("--epochs " + std::to_string(*epochs) + ": " + given.output.string() +
                     " was begun for " + std::to_string(o.epochs) + "; name more, or leave it out");
  o.epochs = *epochs;
  checkpoint.state.finished = false;
  return o;
}

}  // namespace dfengine
