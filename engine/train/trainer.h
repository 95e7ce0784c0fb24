// A training run from start, or from a checkpoint, to its end.
#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "engine/train/checkpoint.h"
#include "engine/train/steps.h"

namespace dfengine {

// What a run tells while it goes on. All functions are called from the thread that runs it.
struct TrainObserver {
  struct Start {
    std::string data;  // DataSource::describe
    int threads;
    int first_epoch;  // counted from 1
    bool resumed;
    // Batch norms of the base were folded away and will be trained (Model::notes "bn_folded").
    bool trains_folded_base;
    std::string cache;  // what is kept of the prepared pictures, and how large that is
    std::vector<std::string> remarks;  // remarks_of_weights
    std::string cut;                   // what a person must know of how batches are cut, or ""
  };
  struct Progress {
    int epoch, epochs;      // counted from 1
    Index step, steps;      // of this epoch
    double loss, accuracy;  // running means of this epoch
    double images_per_second;
    double seconds_left;  // of this epoch's training part
  };
  std::function<void(const Start&)> start;
  std::function<void(Index done, Index total)> caching;  // pictures, with CacheMode::Disk
  std::function<void(const TrainPhase&, Index planned_bytes)> phase;
  std::function<void(const Progress&)> step;
  std::function<void(const EpochRow&, bool best)> epoch;
};

enum class TrainEnd { Finished, EarlyStop, Interrupted };

struct TrainResult {
  TrainEnd end = TrainEnd::Finished;
  TrainState state;
  TrainOptions options;         // as args.json has them
  std::vector<Dataset> splits;  // train, valid and, with --hold-out-group, what was held out
  std::string data_digest;
  Index planned_bytes = 0;  // greatest over the phases
};

// Runs to the end, or until `interrupt` becomes true: then a checkpoint is written and the run
// returns. options.output gets args.json, results.csv, best.safetensors,
// predictions_valid.safetensors, last.ckpt and, where pictures were left out, bad_files.csv; every
// file is written atomically. With resume, options come from last.ckpt, except output, threads,
// check_finite and the places of data that are not empty. `epochs`, where it is there, takes the
// place of a resumed run's own: a run that has ended goes on to that many, by the schedule of a run
// that long. Throws UsageError for no more than it has. The same options, data and instruction set
// give the same bits, with any number of threads, resumed or not; on a device only with
// device_config.deterministic. ranks: the processes that call this together with the same
// arguments, each with its own threads; the first one writes the files. With so many options.slices
// the bits are the same for any number of them, with options.fast_reduce they are not. Throws
// UsageError where there are several and a resumed run has neither, and Error where their programs,
// options or data differ.
TrainResult train(const TrainOptions& options, bool resume, const TrainObserver& observer,
                  const std::atomic<bool>& interrupt, std::optional<int> epochs = std::nullopt,
                  Communicator* ranks = nullptr);

}  // namespace dfengine
