// Training options: the recipes, the JSON round trip, and every refusal.
#include "engine/train/options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/base/error.h"
#include "layers/networks/architectures.h"
#include "tests/weights/scratch_folder.h"

namespace dfengine {
namespace {

using test::message_of;

TEST(Recipe, SeedIsTheNotebook) {
  const TrainOptions o = recipe("seed");
  EXPECT_EQ(o.epochs, 10);
  EXPECT_EQ(o.batch_size, 32);
  EXPECT_EQ(o.lr, 1e-3);
  EXPECT_EQ(o.optimizer, OptimizerKind::Adam);
  EXPECT_EQ(o.weight_decay, 0);
  EXPECT_EQ(o.freeze, kWholeBase);
  EXPECT_EQ(o.unfreeze_at_epoch, -1);
  EXPECT_EQ(o.head_epochs, 0);
  EXPECT_EQ(o.schedule, ScheduleKind::Constant);
  EXPECT_EQ(o.warmup, 0);
  EXPECT_EQ(o.img_size, 0);  // the weights' own, else 224
  EXPECT_EQ(o.dropout, 0);
  EXPECT_EQ(o.augment, AugmentOptions{});
  EXPECT_EQ(o.pixels, PixelScale::ZeroOne);
  o.validate();
}

TEST(Recipe, FinetuneTrainsTheHeadFirstAndThenEverything) {
  const TrainOptions o = recipe("finetune");
  EXPECT_GE(o.head_epochs, 1);
  EXPECT_EQ(o.freeze, 0);
  EXPECT_EQ(o.schedule, ScheduleKind::Cosine);
  EXPECT_EQ(o.augment, AugmentOptions{.hflip = true});
  EXPECT_EQ(o.pixels, PixelScale::Model);
  o.validate();
}

TEST(Recipe, BestIsLongerOnMoreVariedPicturesAndAveraged) {
  const TrainOptions o = recipe("best");
  EXPECT_GT(o.epochs, recipe("finetune").epochs);
  EXPECT_TRUE(o.model_ema);
  EXPECT_EQ(o.augment,
            (AugmentOptions{.hflip = true, .vflip = true, .rot90 = true, .patch_mask = 0.5}));
  o.validate();
}

TEST(Recipe, AnUnknownNameIsRefusedWithTheKnownOnes) {
  const std::string text = message_of<UsageError>([] { recipe("tuna"); });
  EXPECT_NE(text.find("tuna"), std::string::npos);
  EXPECT_NE(text.find("finetune"), std::string::npos);
  EXPECT_NE(text.find("seed"), std::string::npos);
}

// Every field differs from its default.
TrainOptions unusual() {
  TrainOptions o;
  o.data = "some/data";
  o.weights = "w.safetensors";
  o.output = "out";
  o.epochs = 7;
  o.batch_size = 13;
  o.lr = 0.1 + 0.2;  // needs all its digits
  o.optimizer = OptimizerKind::AdamW;
  o.weight_decay = 1.0 / 3;
  o.freeze = 4;
  o.unfreeze_at_epoch = 3;
  o.head_epochs = 2;
  o.schedule = ScheduleKind::Plateau;
  o.warmup = 0.7;
  o.patience = 5;
  o.img_size = 128;
  o.width = 0.35;
  o.dropout = 0.45;
  o.augment = {.scale = {0.5, 0.9},
               .ratio = {0.8, 1.1},
               .color_jitter = {0.1, 0.2, 0.3, 0.4},
               .downscale_prob = 0.6,
               .downscale = {0.3, 0.7},
               .blur_prob = 0.11,
               .blur_sigma = {1, 2},
               .jpeg_prob = 0.12,
               .jpeg_quality = {40, 90},
               .erase_prob = 0.13,
               .erase_scale = {0.1, 0.2},
               .erase_ratio = {0.4, 3}};
  o.resize = ResizeRule::Bicubic;
  o.crop = Crop::Center;
  o.max_pixels = 123456;
  o.cache = CacheMode::Disk;
  o.pixels = PixelScale::ZeroOne;
  o.seed = std::numeric_limits<std::uint64_t>::max();
  o.threads = 3;
  o.device = DeviceKind::Cuda;
  o.device_config = {Precision::Bf16, false, true};
  return o;
}

TEST(OptionsJson, RoundTripKeepsEveryField) {
  const TrainOptions o = unusual();
  const TrainOptions r = train_options_from_json(nlohmann::json::parse(to_json(o).dump()));
  EXPECT_EQ(r.data, o.data);
  EXPECT_EQ(r.weights, o.weights);
  EXPECT_EQ(r.output, o.output);
  EXPECT_EQ(r.epochs, o.epochs);
  EXPECT_EQ(r.batch_size, o.batch_size);
  EXPECT_EQ(r.lr, o.lr);
  EXPECT_EQ(r.optimizer, o.optimizer);
  EXPECT_EQ(r.weight_decay, o.weight_decay);
  EXPECT_EQ(r.freeze, o.freeze);
  EXPECT_EQ(r.unfreeze_at_epoch, o.unfreeze_at_epoch);
  EXPECT_EQ(r.head_epochs, o.head_epochs);
  EXPECT_EQ(r.schedule, o.schedule);
  EXPECT_EQ(r.warmup, o.warmup);
  EXPECT_EQ(r.patience, o.patience);
  EXPECT_EQ(r.img_size, o.img_size);
  EXPECT_EQ(r.width, o.width);
  EXPECT_EQ(r.dropout, o.dropout);
  EXPECT_EQ(r.augment, o.augment);
  EXPECT_EQ(r.resize, o.resize);
  EXPECT_EQ(r.crop, o.crop);
  EXPECT_EQ(r.max_pixels, o.max_pixels);
  EXPECT_EQ(r.cache, o.cache);
  EXPECT_EQ(r.pixels, o.pixels);
  EXPECT_EQ(r.seed, o.seed);
  EXPECT_EQ(r.threads, o.threads);
  EXPECT_EQ(r.device, o.device);
  EXPECT_EQ(r.device_config, o.device_config);
  EXPECT_EQ(to_json(r), to_json(o));
}

// What later versions added: absent where it is as before, so that older versions read the file.
TEST(OptionsJson, LaterFieldsComeBackAndAreAbsentByDefault) {
  TrainOptions o;
  const nlohmann::json before = to_json(o);
  o.eval_size = 256;
  o.img_size = 224;
  o.stem_stride = 1;
  o.clip_grad = 0.5;
  o.grad_accum_steps = 3;
  o.grad_checkpoint = true;
  o.smoothing = 0.1;
  o.mixup = 0.2;
  o.layer_decay = 0.75;
  o.model_ema = true;
  o.model_ema_decay = 0.998;
  o.class_weights = {.given = {0.5, 2}};
  o.augment.vflip = o.augment.rot90 = true;
  o.augment.patch_mask = 0.5;
  o.augment.webp_prob = 0.3;
  o.augment.webp_quality = {20, 80};
  o.crop = Crop::Random;
  o.validate();
  const nlohmann::json json = nlohmann::json::parse(to_json(o).dump());
  const TrainOptions r = train_options_from_json(json);
  EXPECT_EQ(to_json(r), json);
  EXPECT_EQ(r.class_weights, o.class_weights);
  EXPECT_EQ(r.augment, o.augment);
  EXPECT_EQ(r.crop, Crop::Random);
  for (const char* key :
       {"eval_size", "stem_stride", "clip_grad", "grad_accum_steps", "grad_checkpoint", "smoothing",
        "mixup", "layer_decay", "model_ema", "model_ema_decay", "class_weights"}) {
    EXPECT_TRUE(json.contains(key)) << key;
    EXPECT_FALSE(before.contains(key)) << key;
  }
  EXPECT_EQ(json.at("class_weights"), "0.5,2");
}

// The words of args.json and checkpoints: a run made by any version goes on.
TEST(OptionsJson, KeysAndValuesAreThoseOfOldRuns) {
  const nlohmann::json old = nlohmann::json::parse(R"({
    "data": "some/data", "csv": "", "valid_csv": "", "test_csv": "", "classes": "",
    "label_positive": "", "fractions": [], "group_column": "", "seed": 18446744073709551615,
    "on_bad": "skip", "weights": "w.safetensors", "output": "out", "epochs": 7, "batch_size": 13,
    "lr": 0.30000000000000004, "optimizer": "adamw", "weight_decay": 0.3333333333333333,
    "freeze": 4, "unfreeze_at_epoch": 3, "head_epochs": 2, "schedule": "plateau", "warmup": 0.7,
    "patience": 5, "img_size": 128, "width": 0.35, "dropout": 0.45,
    "augment": {"hflip": false, "scale": [0.5, 0.9], "ratio": [0.8, 1.1],
                "color_jitter": [0.1, 0.2, 0.3, 0.4], "downscale_prob": 0.6,
                "downscale": [0.3, 0.7], "blur_prob": 0.11, "blur_sig": [1.0, 2.0],
                "jpg_prob": 0.12, "jpg_qual": [40.0, 90.0], "reprob": 0.13,
                "erase_scale": [0.1, 0.2], "erase_ratio": [0.4, 3.0]},
    "resize": "bicubic", "crop": "center", "max_pixels": 123456, "cache": "disk",
    "pixels": "zero_one", "threshold_metric": "balanced-accuracy", "device": "cuda",
    "precision": "bf16", "graphs": false, "deterministic": true, "threads": 3})");
  EXPECT_EQ(to_json(unusual()), old);
  EXPECT_EQ(to_json(train_options_from_json(old)).dump(), old.dump());
  EXPECT_EQ(to_json(TrainOptions{}).at("resize"), "");
  EXPECT_EQ(to_json(TrainOptions{}).at("crop"), "");
}

TEST(OptionsJson, AnAbsentFieldOrAnotherTypeIsADamagedFile) {
  const nlohmann::json whole = to_json(unusual());
  for (const auto& [key, value] : whole.items()) {
    SCOPED_TRACE(key);
    nlohmann::json less = whole;
    less.erase(key);
    EXPECT_NE(message_of<ModelFileError>([&] { train_options_from_json(less); }).find(key),
              std::string::npos);
    nlohmann::json other = whole;
    other[key] = nlohmann::json::array({"one"});
    EXPECT_THROW(train_options_from_json(other), ModelFileError);
  }
  for (const char* key : {"optimizer", "schedule", "pixels"}) {
    nlohmann::json unknown = whole;
    unknown[key] = "sgd";
    EXPECT_NE(message_of<ModelFileError>([&] { train_options_from_json(unknown); }).find("sgd"),
              std::string::npos);
  }
  EXPECT_THROW(train_options_from_json(nlohmann::json::array()), ModelFileError);
}

TEST(OptionsValidate, EveryRefusalNamesItsOption) {
  struct Case {
    const char* name;
    std::function<void(TrainOptions&)> spoil;
  };
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  const std::vector<Case> cases = {
      {"--epochs", [](TrainOptions& o) { o.epochs = 0; }},
      {"--batch-size", [](TrainOptions& o) { o.batch_size = 0; }},
      {"--batch-size", [](TrainOptions& o) { o.batch_size = std::numeric_limits<Index>::max(); }},
      {"--lr", [](TrainOptions& o) { o.lr = 0; }},
      {"--lr", [](TrainOptions& o) { o.lr = -1; }},
      {"--lr", [=](TrainOptions& o) { o.lr = nan; }},
      {"--lr", [=](TrainOptions& o) { o.lr = inf; }},
      {"--weight-decay", [](TrainOptions& o) { o.weight_decay = -1; }},
      {"--weight-decay", [=](TrainOptions& o) { o.weight_decay = nan; }},
      {"--weight-decay", [=](TrainOptions& o) { o.weight_decay = inf; }},
      {"--freeze", [](TrainOptions& o) { o.freeze = -1; }},
      {"--head-epochs", [](TrainOptions& o) { o.head_epochs = -1; }},
      {"--warmup", [](TrainOptions& o) { o.warmup = -1; }},
      {"--warmup", [=](TrainOptions& o) { o.warmup = nan; }},
      {"--warmup", [=](TrainOptions& o) { o.warmup = inf; }},
      {"--patience", [](TrainOptions& o) { o.patience = -1; }},
      {"--threads", [](TrainOptions& o) { o.threads = -1; }},
      {"dropout", [](TrainOptions& o) { o.dropout = 1; }},
      {"dropout", [=](TrainOptions& o) { o.dropout = nan; }},
      {"--unfreeze-at-epoch", [](TrainOptions& o) { o.unfreeze_at_epoch = 0; }},
      {"--unfreeze-at-epoch", [](TrainOptions& o) { o.unfreeze_at_epoch = -2; }},
      {"--clip-grad", [=](TrainOptions& o) { o.clip_grad = inf; }},
      {"--grad-accum-steps", [](TrainOptions& o) { o.grad_accum_steps = 0; }},
      {"--smoothing", [](TrainOptions& o) { o.smoothing = 1; }},
      {"--mixup", [=](TrainOptions& o) { o.mixup = nan; }},
      {"--layer-decay", [](TrainOptions& o) { o.layer_decay = 0; }},
      {"--model-ema-decay", [](TrainOptions& o) { o.model_ema_decay = 1; }},
      {"--stem-stride", [](TrainOptions& o) { o.stem_stride = 3; }},
      {"--eval-size",
       [](TrainOptions& o) {
         o.img_size = 0;
         o.eval_size = 256;
       }},
  };
  unusual().validate();
  for (const Case& c : cases) {
    TrainOptions o = unusual();
    c.spoil(o);
    SCOPED_TRACE(to_json(o).dump());
    EXPECT_NE(message_of<UsageError>([&] { o.validate(); }).find(c.name), std::string::npos);
  }
}

TEST(OptionsParse, NamesAndBlocks) {
  EXPECT_EQ(parse_name<OptimizerKind>("adam"), OptimizerKind::Adam);
  EXPECT_EQ(parse_name<OptimizerKind>("adamw"), OptimizerKind::AdamW);
  EXPECT_EQ(parse_name<ScheduleKind>("constant"), ScheduleKind::Constant);
  EXPECT_EQ(parse_name<ScheduleKind>("cosine"), ScheduleKind::Cosine);
  EXPECT_EQ(parse_name<ScheduleKind>("plateau"), ScheduleKind::Plateau);
  EXPECT_EQ(parse_freeze("all"), kWholeBase);
  EXPECT_EQ(parse_freeze("none"), 0);
  for (const char* text : {"all", "none", "7"}) EXPECT_EQ(freeze_words(parse_freeze(text)), text);
  EXPECT_EQ(parse_freeze("0"), 0);
  EXPECT_EQ(parse_freeze("19"), 19);
}

TEST(OptionsParse, BlocksAreCountedByTheNetwork) {
  const Network network = make_network({});
  EXPECT_EQ(frozen_blocks(kWholeBase, network), 19);
  EXPECT_EQ(frozen_blocks(0, network), 0);
  EXPECT_EQ(frozen_blocks(19, network), 19);
  EXPECT_NE(message_of<UsageError>([&] { (void)frozen_blocks(20, network); }).find("19 blocks"),
            std::string::npos);
}

TEST(OptionsParse, OtherNamesAreRefused) {
  EXPECT_NE(
      message_of<UsageError>([] { parse_name<OptimizerKind>("sgd"); }).find("known: adam adamw"),
      std::string::npos);
  EXPECT_NE(message_of<UsageError>([] { parse_name<ScheduleKind>(""); }).find("cosine"),
            std::string::npos);
  for (const char* text : {"", "-1", "3x", " 3", "99999999999999999999", "All"})
    EXPECT_NE(message_of<UsageError>([&] { parse_freeze(text); }).find("--freeze"),
              std::string::npos)
        << text;
}

}  // namespace
}  // namespace dfengine
