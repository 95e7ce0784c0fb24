#include "engine/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"
#include "weights/read_file.h"
#include "weights/safetensors.h"

namespace dfengine {
namespace {

constexpr const char* kFirst = "optimizer.first_moment";
constexpr const char* kSecond = "optimizer.second_moment";
constexpr const char* kState = "train_state";
constexpr const char* kOptions = "run_options";  // not the model's own note "train_args"
constexpr const char* kDigest = "data_digest";

using nlohmann::json;

json rows_to_json(const std::vector<EpochRow>& rows) {
  json all = json::array();
  for (const EpochRow& r : rows)
    all.push_back({r.epoch, r.train_loss, r.train_accuracy, r.valid_loss, r.valid_accuracy,
                   r.valid_auc, r.lr, r.loss_scale, r.skipped, r.seconds, r.data_wait});
  return all;
}

// JSON has no NaN: an AUC that does not exist is written as null.
double number(const json& j) {
  return j.is_null() ? std::nan("") : j.get<double>();
}

std::vector<EpochRow> rows_from_json(const json& all) {
  std::vector<EpochRow> rows;
  for (const json& r : all)
    rows.push_back({r.at(0), number(r.at(1)), number(r.at(2)), number(r.at(3)), number(r.at(4)),
                    number(r.at(5)), number(r.at(6)), number(r.at(7)), r.at(8).get<Index>(),
                    number(r.at(9)), number(r.at(10))});
  return rows;
}

json bad_files_to_json(const std::vector<BadFile>& files) {
  json all = json::array();
  for (const BadFile& f : files)
    all.push_back({bytes_to_json(f.split), bytes_to_json(f.relative), bytes_to_json(f.reason)});
  return all;
}

json to_json(const TrainState& s) {
  return {{"epoch", s.epoch},
          {"step", s.step},
          {"total_steps", s.total_steps},
          {"loss_sum", s.loss_sum},
          {"seen", s.seen},
          {"correct", s.correct},
          {"last_lr", s.last_lr},
          {"seconds", s.seconds},
          {"waited", s.waited},
          {"best_auc", s.best_auc},
          {"best_loss", s.best_loss},
          {"best_epoch", s.best_epoch},
          {"plateau", {s.plateau.best, s.plateau.bad_epochs, s.plateau.factor}},
          {"rows", rows_to_json(s.rows)},
          {"bad_files", bad_files_to_json(s.bad_files)},
          {"finished", s.finished},
          {"scaler", {s.scaler.step, s.scaler.skipped, s.scaler.loss_scale, s.scaler.good_steps}},
          {"optimizer_steps", s.scaler.step}};
}

std::uint64_t count(const json& j) {
  const Index value = j.get<Index>();
  if (value < 0) throw ModelFileError("a count of steps is negative");
  return static_cast<std::uint64_t>(value);
}

TrainState state_from_json(const json& j) {
  TrainState s;
  j.at("epoch").get_to(s.epoch);
  j.at("step").get_to(s.step);
  j.at("total_steps").get_to(s.total_steps);
  j.at("loss_sum").get_to(s.loss_sum);
  j.at("seen").get_to(s.seen);
  j.at("correct").get_to(s.correct);
  j.at("last_lr").get_to(s.last_lr);
  j.at("seconds").get_to(s.seconds);
  j.at("waited").get_to(s.waited);
  j.at("best_auc").get_to(s.best_auc);
  j.at("best_loss").get_to(s.best_loss);
  j.at("best_epoch").get_to(s.best_epoch);
  s.plateau.best = j.at("plateau").at(0);
  s.plateau.bad_epochs = j.at("plateau").at(1);
  s.plateau.factor = j.at("plateau").at(2);
  s.rows = rows_from_json(j.at("rows"));
  for (const json& b : j.at("bad_files"))
    s.bad_files.push_back(
        {bytes_from_json(b.at(0)), bytes_from_json(b.at(1)), bytes_from_json(b.at(2))});
  j.at("finished").get_to(s.finished);
  const json& scaler = j.at("scaler");
  s.scaler = {count(scaler.at(0)), count(scaler.at(1)), scaler.at(2),
              static_cast<std::uint32_t>(count(scaler.at(3)))};
  s.scaler.step = count(j.at("optimizer_steps"));  // version 0.1 counted here alone on the CPU
  return s;
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

bool is_better(double auc, double loss, double best_auc, double best_loss) {
  return auc > best_auc || (auc == best_auc && loss < best_loss);
}

void save_checkpoint(const std::filesystem::path& path, const Model& model, const Moments& moments,
                     const TrainState& state, const TrainOptions& options,
                     const std::string& data_digest) {
  weights::TensorFile file = model_to_tensors(model);
  file.tensors.push_back(moment(kFirst, moments.first));
  file.tensors.push_back(moment(kSecond, moments.second));
  file.metadata[kState] = to_json(state).dump();
  file.metadata[kOptions] = to_json(options).dump();
  file.metadata[kDigest] = data_digest;
  weights::write_safetensors(path, file);
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  const std::string name = path.string();
  weights::TensorFile file = weights::read_safetensors(path);
  try {
    std::vector<float> first = take(file, kFirst), second = take(file, kSecond);
    const json state = json::parse(take_entry(file, kState));
    const json options = json::parse(take_entry(file, kOptions));
    std::string data_digest = take_entry(file, kDigest);
    Checkpoint c{.model = model_from_tensors(file, "its model"),
                 .state = state_from_json(state),
                 .options = train_options_from_json(options),
                 .data_digest = std::move(data_digest),
                 .moments = {std::move(first), std::move(second)}};
    c.check();
    return c;
  } catch (const json::exception& e) {
    throw ModelFileError(name + ": damaged checkpoint: " + e.what());
  } catch (const Error& e) {
    throw ModelFileError(name + ": not a checkpoint of a run: " + e.what());
  }
}

void Checkpoint::check() const {
  options.validate();
  (void)frozen_blocks(options.freeze, model.network);
  const auto learned = static_cast<std::size_t>(model.parameters.learned_count());
  const Index numbers[] = {state.epoch, state.step, state.seen, state.correct, state.best_epoch};
  if (model.config.head != Head::Detector) throw ModelFileError("the model is not a detector");
  if (moments.first.size() != learned || moments.second.size() != learned)
    throw ModelFileError("the optimiser's moments do not fit the model");
  if (std::ranges::any_of(numbers, [](Index n) { return n < 0; }) || state.epoch > options.epochs)
    throw ModelFileError("a number in the training state is out of range");
}

}  // namespace dfengine
