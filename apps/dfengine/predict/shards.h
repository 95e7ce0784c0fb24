// A folder with an answer file for each shard of the input, which any number of processes fill.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "apps/dfengine/predict/scoring.h"

namespace dfengine {

// Which shards are a process' own: those whose number leaves this remainder.
struct Part {
  Index number = 0, of = 1;
};
// Text such as "3/16", counted from 0. Throws UsageError.
Part parse_part(const std::string& text);
// What a job array of Slurm, an indexed job of Kubernetes or MPI says, with the variable's name.
// Throws UsageError where the number of parts is not there.
std::optional<std::pair<Part, std::string>> part_of_environment();

// By what a shard is known again.
struct ShardDigests {
  std::string names;  // of its pictures, in a tar their sizes too; "" where it cannot be opened
  std::string files;  // of the sizes of its files, and of when they changed
  Index gone = 0;     // files that are not there, or that this process may not read
};
ShardDigests digests_of(const InputShard& shard, const Dataset& pictures, bool opened);

class ShardFolder {
 public:
  // settings: all on which answers depend. Makes the folder.
  ShardFolder(std::filesystem::path folder, AnswerFormat format, Part part, bool incremental,
              nlohmann::json settings);

  bool is_mine(const InputShard& shard) const { return shard.number % part_.of == part_.number; }
  // Whether an earlier run made it, of the same pictures with the same settings, and neither they
  // nor its answers changed since; that they did is said on standard error. Throws UsageError where
  // it made another, where pictures are gone, or there is one and this run is not incremental.
  bool has(const InputShard& shard, const ShardDigests& digests);
  // Writes the answers, then what says that they are whole. digests: from before they were
  // computed.
  void write(const InputShard& shard, const ShardDigests& digests, const std::string& answers,
             const ScoringCounts& counts, double seconds);
  // All shards of this part are there; `shards` is how many the whole input has.
  void finish(Index shards, double seconds);
  // Of all shards of this part.
  const ScoringCounts& counts() const { return counts_; }
  Index passed_by() const { return passed_by_; }

 private:
  std::filesystem::path answers_file(Index shard) const;
  // The reason why an earlier run's answers do not stand, "" where they do.
  std::string reason_to_redo(const nlohmann::json& summary, const ShardDigests& digests,
                             const std::filesystem::path& answers) const;

  const std::filesystem::path folder_;
  const AnswerFormat format_;
  const Part part_;
  const bool incremental_;
  const nlohmann::json settings_;
  ScoringCounts counts_;
  Index passed_by_ = 0;  // pictures
};

// Joins the shards of a folder as FOLDER/predictions.csv or .jsonl, in the order of the input,
// beside summary.json. Throws UsageError naming the shards that are not there, or not as they were
// written, and then Exit where pictures could not be read, as predict ends.
void merge_shards(const std::filesystem::path& folder);

}  // namespace dfengine
