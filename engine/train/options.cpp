#include "engine/train/options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"

namespace dfengine {
namespace {

void require(bool ok, const char* message) {
  if (!ok) throw UsageError(message);
}

}  // namespace

int parse_freeze(const std::string& text) {
  if (text == "all") return kFeatureBlocks;
  if (text == "none") return 0;
  int blocks = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), blocks);
  if (error != std::errc() || end != text.data() + text.size() || blocks < 0 ||
      blocks > kFeatureBlocks)
    throw UsageError(fmt::format("--freeze '{}': all, none or a number of blocks from 0 to {}",
                                 text, kFeatureBlocks));
  return blocks;
}

void TrainOptions::validate() const {
  constexpr Index kMostPictures = 1 << 16;  // a step of more has no use, and sizes cannot overflow
  require(epochs >= 1, "--epochs must be at least 1");
  require(batch_size >= 1 && batch_size <= kMostPictures, "--batch-size must be from 1 to 65536");
  require(lr > 0 && lr < 1e3, "--lr must be positive and below 1000");
  require(weight_decay >= 0 && std::isfinite(weight_decay),
          "--weight-decay must not be negative or infinite");
  require(freeze >= 0 && freeze <= kFeatureBlocks, "--freeze must be from 0 to 19 blocks");
  require(head_epochs >= 0, "--head-epochs must not be negative");
  require(warmup >= 0 && std::isfinite(warmup), "--warmup must not be negative or infinite");
  require(patience >= 0, "--patience must not be negative");
  augment.validate();
  require(max_pixels >= 1 && max_pixels <= Index{1} << 30, "--max-pixels must be from 1 to 2^30");
  require(threads >= 0, "--threads must not be negative");
  require(dropout >= 0 && dropout < 1, "dropout must be in [0, 1)");
  require(unfreeze_at_epoch == -1 || unfreeze_at_epoch >= 1,
          "--unfreeze-at-epoch counts epochs from 1");
}

TrainOptions recipe(const std::string& name) {
  TrainOptions o;
  if (name == "finetune") return o;
  if (name != "seed") throw UsageError("recipe '" + name + "' is unknown; known: finetune seed");
  o.epochs = 10;
  o.lr = 1e-3;
  o.freeze = kFeatureBlocks;
  o.head_epochs = 0;
  o.schedule = ScheduleKind::Constant;
  o.warmup = 0;
  o.dropout = 0;
  o.augment = {};
  o.pixels = PixelScale::ZeroOne;
  return o;
}

nlohmann::json to_json(const TrainOptions& o) {
  nlohmann::json j = to_json(static_cast<const DataOptions&>(o));
  j.update({{"weights", bytes_to_json(o.weights.string())},
            {"output", bytes_to_json(o.output.string())},
            {"epochs", o.epochs},
            {"batch_size", o.batch_size},
            {"lr", o.lr},
            {"optimizer", name_of(o.optimizer)},
            {"weight_decay", o.weight_decay},
            {"freeze", o.freeze},
            {"unfreeze_at_epoch", o.unfreeze_at_epoch},
            {"head_epochs", o.head_epochs},
            {"schedule", name_of(o.schedule)},
            {"warmup", o.warmup},
            {"patience", o.patience},
            {"img_size", o.img_size},
            {"width", o.width},
            {"dropout", o.dropout},
            {"augment", to_json(o.augment)},
            {"resize", o.resize ? name_of(*o.resize) : ""},
            {"crop", o.crop ? name_of(*o.crop) : ""},
            {"max_pixels", o.max_pixels},
            {"cache", name_of(o.cache)},
            {"pixels", name_of(o.pixels)},
            {"threshold_metric", to_string(o.threshold_rule)},
            {"device", name_of(o.device)},
            {"precision", name_of(o.device_config.precision)},
            {"graphs", o.device_config.graphs},
            {"deterministic", o.device_config.deterministic},
            {"threads", o.threads}});
  return j;
}

TrainOptions train_options_from_json(const nlohmann::json& j) {
  try {
    const auto text = [&j](const char* key) { return j.at(key).get<std::string>(); };
    TrainOptions o;
    static_cast<DataOptions&>(o) = data_options_from_json(j);
    o.weights = bytes_from_json(j.at("weights"));
    o.output = bytes_from_json(j.at("output"));
    j.at("epochs").get_to(o.epochs);
    j.at("batch_size").get_to(o.batch_size);
    j.at("lr").get_to(o.lr);
    o.optimizer = parse_name<OptimizerKind>(text("optimizer"));
    j.at("weight_decay").get_to(o.weight_decay);
    j.at("freeze").get_to(o.freeze);
    j.at("unfreeze_at_epoch").get_to(o.unfreeze_at_epoch);
    j.at("head_epochs").get_to(o.head_epochs);
    o.schedule = parse_name<ScheduleKind>(text("schedule"));
    j.at("warmup").get_to(o.warmup);
    j.at("patience").get_to(o.patience);
    j.at("img_size").get_to(o.img_size);
    j.at("width").get_to(o.width);
    j.at("dropout").get_to(o.dropout);
    o.augment = augment_options_from_json(j.at("augment"));
    const std::string resize = text("resize"), crop = text("crop");
    if (!resize.empty()) o.resize = parse_name<ResizeRule>(resize);
    if (!crop.empty()) o.crop = parse_name<Crop>(crop);
    j.at("max_pixels").get_to(o.max_pixels);
    o.cache = parse_name<CacheMode>(text("cache"));
    o.pixels = parse_name<PixelScale>(text("pixels"));
    o.threshold_rule = parse_threshold_rule(text("threshold_metric"));
    o.device = parse_name<DeviceKind>(text("device"));
    o.device_config.precision = parse_name<Precision>(text("precision"));
    j.at("graphs").get_to(o.device_config.graphs);
    j.at("deterministic").get_to(o.device_config.deterministic);
    j.at("threads").get_to(o.threads);
    return o;
  } catch (const nlohmann::json::exception& e) {
    throw ModelFileError(std::string("training arguments: ") + e.what());
  } catch (const UsageError& e) {
    throw ModelFileError(std::string("training arguments: ") + e.what());
  }
}

}  // namespace dfengine
