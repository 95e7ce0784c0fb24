// The settings of a training run, one row each.
#include <bit>
#include <cmath>

#include "engine/train/options.h"

namespace dfengine {
namespace {

constexpr Index kMostPictures = 1 << 16;  // a step of more has no use, and sizes cannot overflow
constexpr Index kMostPixels = Index{1} << 30;

bool is_finite_and_not_negative(double value) {
  return value >= 0 && std::isfinite(value);
}

using Options = TrainOptions;

constexpr TrainOption kRows[] = {
    {.flag = "--weights",
     .key = "weights",
     .place = &Options::weights,
     .help = "Start from these weights: any file that info can read, or imagenet, which is "
             "torchvision's own file, downloaded once into ~/.cache/dfengine.",
     .usual = "none, random initial values"},
    {.key = "output", .place = &Options::output},
    {.flag = "--epochs",
     .key = "epochs",
     .place = &Options::epochs,
     .help = "Passes over the training pictures.",
     .allowed = "at least 1",
     .accepts = [](const Options& o) { return o.epochs >= 1; }},
    {.flag = "--batch-size",
     .key = "batch_size",
     .place = &Options::batch_size,
     .help = "Pictures in one step.",
     .allowed = "from 1 to 65536",
     .accepts =
         [](const Options& o) { return o.batch_size >= 1 && o.batch_size <= kMostPictures; }},
    {.flag = "--lr",
     .key = "lr",
     .place = &Options::lr,
     .help = "The learning rate after the warm-up.",
     .allowed = "above 0 and below 1000",
     .accepts = [](const Options& o) { return o.lr > 0 && o.lr < 1e3; }},
    {.flag = "--optimizer",
     .key = "optimizer",
     .place = &Options::optimizer,
     .help = "Adam, or AdamW, whose weight decay stays out of the gradient."},
    {.flag = "--weight-decay",
     .key = "weight_decay",
     .place = &Options::weight_decay,
     .help = "Pulls weights to zero, but not biases and batch norms.",
     .allowed = "finite and at least 0",
     .accepts = [](const Options& o) { return is_finite_and_not_negative(o.weight_decay); }},
    {.flag = "--freeze",
     .key = "freeze",
     .place = &Options::freeze,
     .help = "The first K blocks keep their values, counted from the image on; all and none are "
             "words for it.",
     .allowed = "all, none or a number of blocks",
     .accepts = [](const Options& o) { return o.freeze >= 0; },
     .from_words = parse_freeze,
     .to_words = freeze_words},
    {.flag = "--unfreeze-at-epoch",
     .key = "unfreeze_at_epoch",
     .place = &Options::unfreeze_at_epoch,
     .help = "From this epoch on, counted from 1, nothing is frozen.",
     .allowed = "at least 1",
     .accepts =
         [](const Options& o) { return o.unfreeze_at_epoch == -1 || o.unfreeze_at_epoch >= 1; },
     .usual = "never",
     .partner = "--freeze",
     .has_partner = [](const Options& o) { return o.freeze != 0; }},
    {.flag = "--head-epochs",
     .key = "head_epochs",
     .place = &Options::head_epochs,
     .help = "The first epochs train the head alone, at ten times --lr.",
     .allowed = "at least 0",
     .accepts = [](const Options& o) { return o.head_epochs >= 0; },
     .usual = "1 with --weights, else 0"},
    {.flag = "--schedule",
     .key = "schedule",
     .place = &Options::schedule,
     .help = "How the learning rate goes on after the warm-up: constant; cosine, down to 0 at the "
             "end; plateau, halved after more than 2 epochs without a lower validation loss."},
    {.flag = "--warmup",
     .key = "warmup",
     .place = &Options::warmup,
     .help = "Epochs in which the learning rate rises in a line, after the head epochs. Fractions "
             "are allowed.",
     .allowed = "finite and at least 0",
     .accepts = [](const Options& o) { return is_finite_and_not_negative(o.warmup); }},
    {.flag = "--patience",
     .key = "patience",
     .place = &Options::patience,
     .help = "Stop after so many epochs without a better validation AUC. 0 means never.",
     .allowed = "at least 0",
     .accepts = [](const Options& o) { return o.patience >= 0; }},
    {.flag = "--img-size",
     .key = "img_size",
     .place = &Options::img_size,
     .help = "The side of the network's input in pixels: a multiple of 32 from 96 to 320.",
     .usual = "that of the pictures where they are squares of 192, 224, 256, 288 or 320 pixels and "
              "neither --resize, --crop nor --recipe seed is given; else the weights' own, 224 "
              "without weights"},
    {.flag = "--eval-size",
     .key = "eval_size",
     .place = &Options::eval_size,
     .help = "The side of what the finished model takes: with --crop random windows may be smaller "
             "in training than the picture that is judged. Needs --img-size.",
     .allowed = "given with --img-size",
     .accepts = [](const Options& o) { return o.eval_size == 0 || o.img_size != 0; },
     .usual = "--img-size",
     .added_later = true},
    {.flag = "--stem-stride",
     .key = "stem_stride",
     .place = &Options::stem_stride,
     .help = "The stride of the first convolution. 1 keeps every pixel, where the traces of "
             "generators lie, for four times the work and memory; ImageNet's weights fit both.",
     .allowed = "1 or 2",
     .accepts = [](const Options& o) { return o.stem_stride >= 0 && o.stem_stride <= 2; },
     .usual = "the weights' own, 2 without weights",
     .added_later = true},
    {.flag = "--width",
     .key = "width",
     .place = &Options::width,
     .help = "The width multiplier of a network without --weights, which bring their own: above 0, "
             "up to 4."},
    {.flag = "--clip-grad",
     .key = "clip_grad",
     .place = &Options::clip_grad,
     .help =
         "The greatest norm of all gradients together, as PyTorch's clip_grad_norm_. 0 means any.",
     .allowed = "finite and at least 0",
     .accepts = [](const Options& o) { return is_finite_and_not_negative(o.clip_grad); },
     .usual = "none",
     .added_later = true},
    {.flag = "--grad-accum-steps",
     .key = "grad_accum_steps",
     .place = &Options::grad_accum_steps,
     .help = "So many batches make one update, with the mean of their gradients. Each has batch "
             "norm statistics of its own.",
     .allowed = "from 1 to 1024",
     .accepts =
         [](const Options& o) { return o.grad_accum_steps >= 1 && o.grad_accum_steps <= 1024; },
     .added_later = true},
    {.flag = "--grad-checkpoint,!--no-grad-checkpoint",
     .key = "grad_checkpoint",
     .place = &Options::grad_checkpoint,
     .help = "Keep only what blocks hand to each other, and compute the rest again in backward: "
             "about a third of the memory for a fifth more time. The result has the same bits.",
     .added_later = true},
    {.flag = "--slices",
     .key = "slices",
     .place = &Options::slices,
     .help =
         "A batch is cut into so many slices, whose sums are added in a fixed order: the result "
         "then depends on this number, and not on how many processes mpirun starts. A power of "
         "two, at least the processes and at most --batch-size.",
     .allowed = "a power of two of at most --batch-size",
     .accepts =
         [](const Options& o) {
           return o.slices == 0 || (o.slices >= 1 && o.slices <= o.batch_size &&
                                    std::has_single_bit(static_cast<std::uint64_t>(o.slices)));
         },
     .usual = "8 with several processes, else whole batches",
     .added_later = true},
    {.flag = "--fast-reduce,!--no-fast-reduce",
     .key = "fast_reduce",
     .place = &Options::fast_reduce,
     .help =
         "Each process takes its part of a batch as one slice: the least work, but the result then "
         "depends on how many processes mpirun starts.",
     .allowed = "without --slices",
     .accepts = [](const Options& o) { return !o.fast_reduce || o.slices == 0; },
     .added_later = true},
    {.flag = "--smoothing",
     .key = "smoothing",
     .place = &Options::smoothing,
     .help = "Label smoothing: targets 0 and 1 become x/2 and 1 - x/2.",
     .allowed = "at least 0 and below 1",
     .accepts = [](const Options& o) { return o.smoothing >= 0 && o.smoothing < 1; },
     .added_later = true},
    {.flag = "--class-weights",
     .key = "class_weights",
     .place = &Options::class_weights,
     .help = "What each class counts in the loss: none, balanced (so that both count the same in "
             "all), or REAL,FAKE.",
     .added_later = true},
    {.flag = "--mixup",
     .key = "mixup",
     .place = &Options::mixup,
     .help = "Mixes each picture with another of its batch; the share is drawn from "
             "Beta(x, x) for each batch. 0 mixes nothing.",
     .allowed = "from 0 to 100",
     .accepts = [](const Options& o) { return o.mixup >= 0 && o.mixup <= 100; },
     .added_later = true},
    {.flag = "--layer-decay",
     .key = "layer_decay",
     .place = &Options::layer_decay,
     .help = "Each block learns at this part of the rate of the block behind it, the head at the "
             "whole rate.",
     .allowed = "above 0 and at most 1",
     .accepts = [](const Options& o) { return o.layer_decay > 0 && o.layer_decay <= 1; },
     .added_later = true},
    {.flag = "--model-ema,!--no-model-ema",
     .key = "model_ema",
     .place = &Options::model_ema,
     .help = "Validate and keep a moving average of the parameters.",
     .added_later = true},
    {.flag = "--model-ema-decay",
     .key = "model_ema_decay",
     .place = &Options::model_ema_decay,
     .help = "What of that average stays at each update t: the lesser of this and (1 + t) / "
             "(10 + t).",
     .allowed = "at least 0 and below 1",
     .accepts = [](const Options& o) { return o.model_ema_decay >= 0 && o.model_ema_decay < 1; },
     .added_later = true,
     .partner = "--model-ema",
     .has_partner = [](const Options& o) { return o.model_ema; }},
    {.flag = "--teacher",
     .key = "teacher",
     .place = &Options::teachers,
     .help =
         "Distillation: the targets are the mean of what these detectors say of each picture as "
         "training sees it, not the labels. Model files or runs' folders, of the same "
         "--img-size.",
     .usual = "none",
     .added_later = true},
    {.flag = "--teacher-temperature",
     .key = "teacher_temperature",
     .place = &Options::teacher_temperature,
     .help = "The teachers' logits are divided by this: above 1 their answers are softer.",
     .allowed = "above 0 and at most 100",
     .accepts =
         [](const Options& o) { return o.teacher_temperature > 0 && o.teacher_temperature <= 100; },
     .added_later = true,
     .partner = "--teacher",
     .has_partner = [](const Options& o) { return !o.teachers.empty(); }},
    {.flag = "--hold-out-group",
     .key = "hold_out_group",
     .place = &Options::hold_out,
     .help =
         "Pictures of these groups are neither trained nor validated on, and are reported apart "
         "at the end: values of --group-column, or names of folders.",
     .usual = "none",
     .added_later = true},
    {.key = "dropout",
     .place = &Options::dropout,
     .allowed = "at least 0 and below 1",
     .accepts = [](const Options& o) { return o.dropout >= 0 && o.dropout < 1; }},
    {.flag = "--resize",
     .key = "resize",
     .place = &Options::resize,
     .help = "How pictures are resized: bilinear and bicubic (both antialiased) and nearest give "
             "Pillow's pixels.",
     .usual = "the weights' own, bilinear without weights"},
    {.flag = "--crop",
     .key = "crop",
     .place = &Options::crop,
     .help = "none resizes the whole picture to the square; center resizes by 256/224 and cuts the "
             "middle out; random resizes nothing: training cuts a square anywhere, everything else "
             "the middle, and smaller pictures go on mirrored at their borders.",
     .usual = "the weights' own, none without weights"},
    {.flag = "--max-pixels",
     .key = "max_pixels",
     .place = &Options::max_pixels,
     .help =
         "A picture of more pixels is a bad file. This guards the memory against false headers.",
     .allowed = "from 1 to 2^30",
     .accepts = [](const Options& o) { return o.max_pixels >= 1 && o.max_pixels <= kMostPixels; }},
    {.flag = "--cache",
     .key = "cache",
     .place = &Options::cache,
     .help = "Where prepared pictures stay between epochs: in ram, on disk (OUTPUT/cache.dfpack), "
             "or auto: in memory where they take at most 40 % of what is free. Each epoch's line "
             "says what share of it waited for data."},
    {.key = "pixels", .place = &Options::pixels},
    {.flag = "--threshold-metric",
     .key = "threshold_metric",
     .place = &Options::threshold_rule,
     .help = "What the model's threshold is best at on the validation pictures: balanced-accuracy, "
             "f1, eer (equal error rates), or fpr@x, which finds most fakes with at most a share x "
             "of the reals called fake, such as fpr@0.01."},
    {.key = "device", .place = &Options::device},
    {.flag = "--threads",
     .key = "threads",
     .place = &Options::threads,
     .allowed = "at least 0",
     .accepts = [](const Options& o) { return o.threads >= 0; }}};

}  // namespace

std::span<const TrainOption> train_options() {
  return kRows;
}

}  // namespace dfengine
