// The files of a run folder that people read.
#pragma once

#include "engine/train/checkpoint.h"

namespace dfengine {

inline constexpr const char* kBestModel = "best.safetensors";
inline constexpr const char* kCheckpoint = "last.ckpt";
inline constexpr const char* kResults = "results.csv";
inline constexpr const char* kArguments = "args.json";
inline constexpr const char* kBadFiles = "bad_files.csv";

// Makes the folder. A folder that already holds a checkpoint is another run's: UsageError.
void create_run_folder(const std::filesystem::path& folder);

// Removes what a killed process of this run left half written.
void remove_leftovers(const std::filesystem::path& folder);

// args.json in options.output, results.csv in folder; both atomic.
void write_args(const TrainOptions& options);
void write_results(const std::filesystem::path& folder, const std::vector<EpochRow>& rows);

}  // namespace dfengine
