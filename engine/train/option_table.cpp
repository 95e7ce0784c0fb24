// The settings of a training run, one row each.
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
     .usual = "never"},
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
     .usual = "the weights' own, 224 without weights"},
    {.flag = "--width",
     .key = "width",
     .place = &Options::width,
     .help = "The width multiplier of a network without --weights, which bring their own: above 0, "
             "up to 4."},
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
             "middle out.",
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
