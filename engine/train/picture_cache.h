// Where a run keeps its prepared pictures between epochs.
#pragma once

#include <atomic>
#include <functional>

#include "engine/data/pack.h"
#include "engine/model/model.h"
#include "engine/train/options.h"

namespace dfengine {

// Most bytes one loader may keep in memory: with CacheMode::Auto 40 % of what the system has free
// now, with Ram no limit, with Disk none.
std::uint64_t memory_cache_bytes(CacheMode mode);

// What will be kept where, and how large it is, for people.
std::string describe_cache(const TrainOptions& options, const std::vector<Dataset>& splits,
                           const Preparation& how);

// Throws UsageError for a run whose pictures are not the same squares in every epoch, or not the
// same in training and validation.
void check_disk_cache(const TrainOptions& options, const Model& model);

// FOLDER/cache.dfpack with the pictures of these splits, which then read from it. A file of an
// earlier try is used when its source has not changed, gone on with when it is not complete, made
// anew otherwise. Splits that are packed already stay as they are. False when `go_on` stopped it.
bool cache_on_disk(const std::filesystem::path& folder, std::vector<Dataset>& splits,
                   const Preparation& how, ThreadPool& pool,
                   const std::function<bool(Index done, Index total)>& go_on);

}  // namespace dfengine
