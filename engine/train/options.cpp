#include "engine/train/options.h"

#include <fmt/format.h>

#include "engine/data/option_json.h"
#include "kernels/base/json_integer.h"
#include "kernels/base/numbers.h"

namespace dfengine {
namespace {

constexpr OptionRow<DeviceConfig, Precision, bool> kDeviceRows[] = {
    {.key = "precision", .place = &DeviceConfig::precision},
    {.key = "graphs", .place = &DeviceConfig::graphs},
    {.key = "deterministic", .place = &DeviceConfig::deterministic}};

}  // namespace

void to_json(nlohmann::json& json, const ThresholdRule& rule) {
  json = to_string(rule);
}

void from_json(const nlohmann::json& json, ThresholdRule& rule) {
  rule = parse_threshold_rule(json.get<std::string>());
}

void to_json(nlohmann::json& json, const ClassWeights& weights) {
  json = to_string(weights);
}

void from_json(const nlohmann::json& json, ClassWeights& weights) {
  weights = parse_class_weights(json.get<std::string>());
}

int parse_freeze(const std::string& text) {
  if (text == "all") return kWholeBase;
  if (text == "none") return 0;
  const auto blocks = number_of<int>(text);
  if (!blocks || *blocks < 0)
    throw UsageError(fmt::format("--freeze '{}': all, none or a number of blocks", text));
  return *blocks;
}

std::string freeze_words(int freeze) {
  if (freeze == 0) return "none";
  return freeze == kWholeBase ? "all" : fmt::format("{}", freeze);
}

int frozen_blocks(int freeze, const Network& network) {
  if (freeze == kWholeBase) return network.block_count();
  if (freeze > network.block_count())
    throw UsageError(
        fmt::format("--freeze {}: the network has {} blocks", freeze, network.block_count()));
  return freeze;
}

void make_absolute(TrainOptions& options) {
  make_absolute(static_cast<DataOptions&>(options));
  for (std::string& teacher : options.teachers)
    teacher = std::filesystem::absolute(teacher).string();
}

void TrainOptions::validate() const {
  check_options(train_options(), *this);
  augment.validate();
}

TrainOptions recipe(const std::string& name) {
  TrainOptions o;
  if (name == "finetune") return o;
  if (name == "robust") {
    o.augment.jpeg_prob = 0.5;
    o.augment.webp_prob = o.augment.blur_prob = o.augment.downscale_prob = 0.25;
    o.augment.blur_sigma = {0, 1.5};
    return o;
  }
  if (name == "best") {
    o.epochs = 60;
    o.model_ema = true;
    o.augment.vflip = o.augment.rot90 = true;
    o.augment.patch_mask = 0.5;
    return o;
  }
  if (name != "seed")
    throw UsageError("recipe '" + name + "' is unknown; known: finetune best robust seed");
  o.epochs = 10;
  o.lr = 1e-3;
  o.freeze = kWholeBase;
  o.head_epochs = 0;
  o.schedule = ScheduleKind::Constant;
  o.warmup = 0;
  o.dropout = 0;
  o.augment = {};
  o.crop = Crop::None;
  o.pixels = PixelScale::ZeroOne;
  return o;
}

nlohmann::json to_json(const TrainOptions& options) {
  nlohmann::json json = to_json(static_cast<const DataOptions&>(options));
  write_options(train_options(), options, json);
  json["augment"] = options.augment;
  write_options(kDeviceRows, options.device_config, json);
  return json;
}

nlohmann::json all_settings(const TrainOptions& options) {
  nlohmann::json json = to_json(options);
  write_options(train_options(), options, json, true);
  write_options(augment_options(), options.augment, json["augment"], true);
  return json;
}

TrainOptions train_options_from_json(const nlohmann::json& json) try {
  TrainOptions options;
  static_cast<DataOptions&>(options) = data_options_from_json(json);
  read_options(train_options(), json, options);
  json.at("augment").get_to(options.augment);
  read_options(kDeviceRows, json, options.device_config);
  return options;
} catch (const nlohmann::json::exception& e) {
  throw ModelFileError("training arguments: " + json_fault(e));
} catch (const UsageError& e) {
  throw ModelFileError(std::string("training arguments: ") + e.what());
}

}  // namespace dfengine
