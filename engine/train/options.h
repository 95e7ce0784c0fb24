// Everything that decides what a training run computes, and the named recipes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/data/augment/augment.h"
#include "engine/data/option_row.h"
#include "engine/data/sets/source.h"
#include "engine/evaluate/metrics/threshold.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "engine/train/targets/class_weights.h"
#include "kernels/base/shape.h"
#include "layers/networks/network.h"

namespace dfengine {

// For freeze: every block of the base, however many the network has.
inline constexpr int kWholeBase = std::numeric_limits<int>::max();

// Where prepared pictures stay between epochs: in memory where they fit, in memory whatever it
// takes, or in a file of the run's folder.
enum class CacheMode { Auto, Ram, Disk };
template <>
inline constexpr auto enum_names<CacheMode> = names_for<CacheMode>(
    "cache", {{"auto", CacheMode::Auto}, {"ram", CacheMode::Ram}, {"disk", CacheMode::Disk}});
enum class OptimizerKind { Adam, AdamW };
template <>
inline constexpr auto enum_names<OptimizerKind> = names_for<OptimizerKind>(
    "optimizer", {{"adam", OptimizerKind::Adam}, {"adamw", OptimizerKind::AdamW}});
enum class ScheduleKind { Constant, Cosine, Plateau };
template <>
inline constexpr auto enum_names<ScheduleKind> =
    names_for<ScheduleKind>("schedule", {{"constant", ScheduleKind::Constant},
                                         {"cosine", ScheduleKind::Cosine},
                                         {"plateau", ScheduleKind::Plateau}});
// Pixel scaling of networks without weights of their own convention: ImageNet mean and deviation,
// or plain [0, 1] as the seed notebook used.
enum class PixelScale { Model, ZeroOne };
template <>
inline constexpr auto enum_names<PixelScale> = names_for<PixelScale>(
    "pixels", {{"model", PixelScale::Model}, {"zero_one", PixelScale::ZeroOne}});

// The seed of DataOptions is that of the whole run.
struct TrainOptions : DataOptions {
  std::filesystem::path weights;  // empty: random initial values
  std::filesystem::path output;

  int epochs = 20;
  Index batch_size = 32;
  double lr = 1e-4;
  OptimizerKind optimizer = OptimizerKind::Adam;
  double weight_decay = 0.0;  // on weights only, not on biases and batch norm
  // The first `freeze` blocks (features.0 ...) keep their values and run in inference form.
  int freeze = 0;              // 0: none, kWholeBase: all
  int unfreeze_at_epoch = -1;  // from this epoch (counted from 1) nothing is frozen; -1: never
  // The first epochs train the head alone, at ten times lr.
  int head_epochs = 1;
  ScheduleKind schedule = ScheduleKind::Cosine;
  double warmup = 1.0;  // epochs of linear warm-up after the head epochs
  int patience = 0;     // epochs without a better validation AUC before stopping; 0: off
  // 0: that of the pictures where it is near, else the weights' own, 224 without weights.
  Index img_size = 0;
  Index eval_size = 0;    // what the finished model takes; 0: img_size
  Index stem_stride = 0;  // 0: the weights' own, 2 without weights
  double width = 1.0;     // without weights; else the weights' own
  double dropout = 0.2;
  double clip_grad = 0;          // the greatest norm of the gradients; 0: any
  Index grad_accum_steps = 1;    // batches whose gradients make one update
  bool grad_checkpoint = false;  // wide activations are made again for backward; the same bits
  Index slices = 0;              // of a batch, whose sums are added in a tree; 0: a batch is whole
  bool fast_reduce = false;      // as many slices as processes, whatever their number
  double smoothing = 0;          // of targets
  double mixup = 0;              // alpha of the shares; 0: none
  double layer_decay = 1;        // of the learning rate, per block away from the head
  bool model_ema = false;        // what is validated and kept is a moving average
  double model_ema_decay = 0.9998;
  ClassWeights class_weights;
  // Detectors whose answers take the place of labels, softened by the temperature.
  std::vector<std::string> teachers;
  double teacher_temperature = 1;
  std::vector<std::string> hold_out;  // groups that are neither trained nor validated on
  AugmentOptions augment = {.hflip = true};
  // How pictures are resized and cut; without a word the weights' own, else bilinear and whole.
  std::optional<ResizeRule> resize;
  std::optional<Crop> crop;
  Index max_pixels = kMaxImagePixels;
  CacheMode cache = CacheMode::Auto;  // not part of the result
  PixelScale pixels = PixelScale::Model;
  ThresholdRule threshold_rule;  // what the kept model's threshold is chosen for

  // Where the network computes; pictures are always decoded on the CPU.
  DeviceKind device = DeviceKind::Cpu;
  DeviceConfig device_config;  // of a CUDA device

  // Not part of the result: any value gives the same bits.
  int threads = 0;            // 0: all this process may use
  bool check_finite = false;  // name the first layer whose numbers are not finite; slow

  // Throws UsageError naming the option and the range.
  void validate() const;
};

// finetune: the head alone for one epoch, then everything with Adam 1e-4 on a cosine, mirrored
// pictures. best: the same for 60 epochs, pictures turned and mirrored in all ways and partly
// blanked, an average of the parameters. robust: finetune, and JPEG, WebP, blur and rescaling at
// random. seed: the notebook this engine replaces (frozen base, pixels in [0, 1], Adam 1e-3, 10
// epochs). Throws UsageError for another name.
TrainOptions recipe(const std::string& name);

// Every field but check_finite and those of DataOptions, augment and device_config, which are
// groups of their own.
using TrainOption =
    OptionRow<TrainOptions, int, Index, double, std::filesystem::path, OptimizerKind, ScheduleKind,
              CacheMode, PixelScale, DeviceKind, ThresholdRule, std::optional<ResizeRule>,
              std::optional<Crop>, bool, ClassWeights, std::vector<std::string>>;
std::span<const TrainOption> train_options();

// As that of DataOptions, for everything that a run reads again when it goes on.
void make_absolute(TrainOptions& options);

// Round trip of everything that decides the result (data, weights, output and threads included as
// written). Reading throws ModelFileError when a field is absent, of another type or a name that is
// unknown.
nlohmann::json to_json(const TrainOptions& options);
// The same with every setting, for people.
nlohmann::json all_settings(const TrainOptions& options);
TrainOptions train_options_from_json(const nlohmann::json& json);

// "all" is kWholeBase, "none" is 0; else a number of blocks. Throws UsageError.
int parse_freeze(const std::string& text);
std::string freeze_words(int freeze);
// How many blocks of a network that freezes. Throws UsageError when it has fewer.
int frozen_blocks(int freeze, const Network& network);

}  // namespace dfengine
