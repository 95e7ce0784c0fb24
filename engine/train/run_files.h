// The files of a run folder, except last.ckpt (engine/train/checkpoint.h).
#pragma once

#include "engine/evaluate/evaluate.h"
#include "engine/train/checkpoint.h"
#include "kernels/base/file_lock.h"
#include "weights/pretrained.h"

namespace dfengine {

inline constexpr const char* kBestModel = weights::kKeptModel;
inline constexpr const char* kCheckpoint = "last.ckpt";
inline constexpr const char* kResults = "results.csv";
inline constexpr const char* kArguments = "args.json";
inline constexpr const char* kBadFiles = "bad_files.csv";
inline constexpr const char* kHeldOut = "held_out.json";
inline constexpr const char* kValidPredictions = "predictions_valid.safetensors";

// Whether training wrote into this folder.
bool is_run_folder(const std::filesystem::path& folder);

// Whether training keeps a file of this name where it would lie: in a run's folder.
bool is_file_of_run(const std::filesystem::path& file);

// Makes the folder and holds it (file_lock.h). Throws UsageError where it already holds another
// run, with a checkpoint or without, or what eval or compare wrote, and Error where another process
// holds it. What a kill before the first checkpoint left is no such run.
UniqueFd create_run_folder(const std::filesystem::path& folder);

// Removes what a killed process of this run left half written.
void remove_leftovers(const std::filesystem::path& folder);

// The settings of a run that has ended or goes on, as its args.json has them. Throws Error or
// ModelFileError naming the file.
TrainOptions read_args(const std::filesystem::path& folder);

// Write args.json into options.output and results.csv into folder, both atomically. Figures are in
// the shortest form that reads back as the same number, so that a reader finds the best epoch that
// training found; times are rounded.
void write_args(const TrainOptions& options);
void write_results(const std::filesystem::path& folder, const std::vector<EpochRow>& rows);

// The kept model's logits of the validation pictures and their positions in the data set, so that
// the report need not compute them again. The file is written atomically. Labels are read from the
// data set, and probabilities follow from the model's temperature. Reading throws ModelFileError
// where the file is damaged or speaks of pictures that do not exist.
void write_valid_predictions(const std::filesystem::path& folder, const Predictions& predictions);
Predictions read_valid_predictions(const std::filesystem::path& folder, const Dataset& valid,
                                   const Model& model);

}  // namespace dfengine
