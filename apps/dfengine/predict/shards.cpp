#include "apps/dfengine/predict/shards.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "engine/data/tar.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "kernels/base/file_lock.h"
#include "kernels/base/json_bytes.h"
#include "kernels/base/json_integer.h"
#include "kernels/base/numbers.h"
#include "kernels/base/sha256.h"
#include "weights/read_file.h"

namespace dfengine {
namespace {

using nlohmann::json;

std::string shard_name(Index shard) {
  return fmt::format("shard-{:06}", shard);
}

json counts_json(const ScoringCounts& c) {
  return {{"pictures", c.pictures},
          {"unreadable", c.unreadable},
          {"fake", c.fake},
          {"unsure", c.unsure}};
}

void add(ScoringCounts& sum, const ScoringCounts& c) {
  sum.pictures += c.pictures;
  sum.unreadable += c.unreadable;
  sum.fake += c.fake;
  sum.unsure += c.unsure;
}

ScoringCounts counts_of(const json& summary) {
  return {summary.at("pictures").get<Index>(), summary.at("unreadable").get<Index>(),
          summary.at("fake").get<Index>(), summary.at("unsure").get<Index>()};
}

json read_json(const std::filesystem::path& file) {
  std::ifstream stream(file);
  const json summary = json::parse(stream, nullptr, false);
  if (!summary.is_object())
    throw DataError(file.string() +
                    ": no summary of predict: remove it and run again with --incremental");
  return summary;
}

void write_json(const std::filesystem::path& file, const json& summary) {
  write_text(file, summary.dump(2) + "\n");
}

std::string text_digest(const std::string& text) {
  return sha256_hex(std::as_bytes(std::span(text)));
}

std::string names_digest(const Dataset& pictures) {
  std::string names;
  for (const Sample& sample : pictures.samples) {
    names += sample.relative;
    if (pictures.tars) names += fmt::format("\n{}", pictures.tars->entry(sample.record).bytes);
    names += '\0';
  }
  return text_digest(names);
}

// Whether a shard's answers are those that its summary was written for.
bool fits(const json& summary, const std::string& answers) {
  return summary.value("answers_sha256", "") == text_digest(answers);
}

std::optional<Index> variable(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  const std::optional<Index> number = number_of<Index>(text);
  if (!number)
    throw UsageError(fmt::format("{} is '{}', no number: name the part with --part", name, text));
  return number;
}

std::pair<Part, std::string> checked(Part part, const std::string& name) {
  if (part.of < 1 || part.number < 0 || part.number >= part.of)
    throw UsageError(
        fmt::format("part {} of {}, by {}: parts are counted from 0; name it with --part",
                    part.number, part.of, name));
  return {part, name};
}

}  // namespace

Part parse_part(const std::string& text) {
  const std::size_t slash = text.find('/');
  const auto number = number_of<Index>(text.substr(0, slash));
  const auto of = slash == text.npos ? std::nullopt : number_of<Index>(text.substr(slash + 1));
  if (!number || !of || *of < 1 || *number < 0 || *number >= *of)
    throw UsageError("--part " + text + ": write i/N, with i from 0 to N - 1");
  return {*number, *of};
}

std::optional<std::pair<Part, std::string>> part_of_environment() {
  if (const auto id = variable("SLURM_ARRAY_TASK_ID")) {
    const auto count = variable("SLURM_ARRAY_TASK_COUNT"), least = variable("SLURM_ARRAY_TASK_MIN");
    const Index step = std::max(variable("SLURM_ARRAY_TASK_STEP").value_or(1), Index{1});
    if (!count) throw UsageError("SLURM_ARRAY_TASK_COUNT is not set: name the part with --part");
    return checked({(*id - least.value_or(0)) / step, *count}, "SLURM_ARRAY_TASK_ID");
  }
  if (variable("JOB_COMPLETION_INDEX"))
    throw UsageError(
        "JOB_COMPLETION_INDEX does not say of how many: in the job's arguments write --part "
        "$(JOB_COMPLETION_INDEX)/N, or --part 0/1 where one pod does all");
  // Of srun the step's tasks: a batch script itself is the first of the job's tasks, but no part.
  for (const auto& [rank, size] :
       {std::pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        std::pair("PMI_RANK", "PMI_SIZE"), std::pair("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")}) {
    const auto number = variable(rank), of = variable(size);
    if (number && of) return checked({*number, *of}, rank);
  }
  return std::nullopt;
}

ShardDigests digests_of(const InputShard& shard, const Dataset& pictures, bool opened) {
  ShardDigests digests;
  if (opened) digests.names = names_digest(pictures);
  std::string files;
  const auto add = [&](const std::filesystem::path& file) {
    struct stat status = {};
    const bool there = ::access(file.c_str(), R_OK) == 0 && ::stat(file.c_str(), &status) == 0;
    digests.gone += there ? 0 : 1;
    files += there ? fmt::format("{} {}.{}\n", status.st_size, status.st_mtim.tv_sec,
                                 status.st_mtim.tv_nsec)
                   : "gone\n";
  };
  if (shard.container.empty())
    std::ranges::for_each(shard.files, add);
  else
    add(shard.container);
  digests.files = text_digest(files);
  return digests;
}

ShardFolder::ShardFolder(std::filesystem::path folder, AnswerFormat format, Part part,
                         bool incremental, json settings)
    : folder_(std::move(folder)),
      format_(format),
      part_(part),
      incremental_(incremental),
      settings_(std::move(settings)) {
  make_folder(folder_);
}

std::filesystem::path ShardFolder::answers_file(Index shard) const {
  return folder_ / fmt::format("{}.{}", shard_name(shard), name_of(format_));
}

std::string ShardFolder::reason_to_redo(const json& summary, const ShardDigests& digests,
                                        const std::filesystem::path& answers) const {
  if (summary.value("files_sha256", "") != digests.files) return "its files changed";
  if (summary.value("names_sha256", "").empty() && !digests.names.empty())
    return "it could not be opened";
  std::error_code none;
  if (!std::filesystem::exists(answers, none) || !fits(summary, weights::read_text(answers)))
    return fmt::format("{} is not what was written", answers.filename().string());
  return "";
}

bool ShardFolder::has(const InputShard& shard, const ShardDigests& digests) {
  const std::filesystem::path file = folder_ / (shard_name(shard.number) + ".json");
  std::error_code none;
  if (!std::filesystem::exists(file, none)) return false;
  if (!incremental_)
    throw UsageError(fmt::format(
        "{} is there already: go on with --incremental, or name another --output", file.string()));
  const json summary = read_json(file);
  const auto differs = [&](const char* what) {
    throw UsageError(fmt::format("{} is of other {}: name another --output", file.string(), what));
  };
  if (summary.value("settings", json()) != settings_) differs("settings, or of another model");
  if (digests.gone > summary.value("gone", digests.gone))
    throw UsageError(
        fmt::format("{} is of files that are gone now, or closed to this process ({}): bring them "
                    "back, or name another --output",
                    file.string(), digests.gone));
  const std::string names = summary.value("names_sha256", "");
  if (!names.empty() && !digests.names.empty() && names != digests.names) differs("pictures");
  if (const std::string why = reason_to_redo(summary, digests, answers_file(shard.number));
      !why.empty()) {
    fmt::print(stderr, "dfengine: {}: made anew, for {}\n", file.string(), why);
    return false;
  }
  const ScoringCounts counts = counts_of(summary);
  add(counts_, counts);
  passed_by_ += counts.pictures;
  return true;
}

void ShardFolder::write(const InputShard& shard, const ShardDigests& digests,
                        const std::string& answers, const ScoringCounts& counts, double seconds) {
  write_text(answers_file(shard.number), answers);
  json summary = counts_json(counts);
  summary["shard"] = shard.number;
  summary["source"] = readable(shard.describe());
  summary["seconds"] = seconds;
  summary["names_sha256"] = digests.names;
  summary["files_sha256"] = digests.files;
  summary["gone"] = digests.gone;
  summary["answers_sha256"] = text_digest(answers);
  summary["settings"] = settings_;
  write_json(folder_ / (shard_name(shard.number) + ".json"), summary);
  add(counts_, counts);
}

void ShardFolder::finish(Index shards, double seconds) {
  json summary = counts_json(counts_);
  summary["part"] = part_.number;
  summary["of"] = part_.of;
  summary["shards"] = shards;
  summary["seconds"] = seconds;
  summary["format"] = name_of(format_);
  write_json(folder_ / fmt::format("part-{}-of-{}.json", part_.number, part_.of), summary);
}

namespace {

struct Whole {
  Index shards = 0;
  std::string format;
};

// What the parts say of the whole, which must be the same.
Whole read_parts(const std::filesystem::path& folder) {
  std::optional<Whole> whole;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("part-") || !name.ends_with(".json")) continue;
    const json part = read_json(entry.path());
    const Whole one{part.at("shards").get<Index>(), part.at("format").get<std::string>()};
    if (whole && (whole->shards != one.shards || whole->format != one.format))
      throw UsageError(folder.string() + ": its parts are of inputs or formats that differ");
    whole = one;
  }
  if (!whole)
    throw UsageError(folder.string() +
                     ": no part of predict ended here: --merge wants the --output of all of them");
  return *whole;
}

// Copies a shard's answers without their first line, which must be `header` unless that is empty.
void append(std::FILE* out, const std::filesystem::path& file, const json& summary,
            std::string& header, bool has_header) {
  const std::string answers = weights::read_text(file);
  if (!fits(summary, answers))
    throw UsageError(file.string() +
                     ": not what was written there: run its part again with --incremental");
  std::string_view rest = answers;
  if (has_header) {
    const std::string first = answers.substr(0, answers.find('\n') + 1);
    if (first.empty() || (!header.empty() && first != header))
      throw DataError(file.string() + ": its first line is not that of the other shards");
    if (!header.empty()) rest.remove_prefix(first.size());
    header = first;
  }
  if (std::fwrite(rest.data(), 1, rest.size(), out) != rest.size())
    throw Error("cannot write the merged answers: is the disk full?");
}

// Grows beside the target as write_file_atomic's do, for it may be larger than memory, and is gone
// again unless it took the target's place.
class MergedFile {
 public:
  explicit MergedFile(const std::filesystem::path& target) : target_(target) {
    remove_temporaries(target);
    for (int n = 0; !file_; ++n) {
      name_ = fmt::format("{}.tmp-{}", target.string(), n);
      file_.reset(std::fopen(name_.c_str(), "wbxe"));
      if (!file_ && errno != EEXIST)
        throw Error(fmt::format("{}: cannot be written: {}", name_, std::strerror(errno)));
    }
    // What nobody holds is known to be left by a killed process.
    static_cast<void>(try_lock(::fileno(file_.get())));
  }
  MergedFile(const MergedFile&) = delete;
  MergedFile& operator=(const MergedFile&) = delete;
  ~MergedFile() {
    if (!in_place_) ::unlink(name_.c_str());
  }

  std::FILE* file() const { return file_.get(); }
  void put_in_place() {
    if (std::fflush(file_.get()) != 0 || ::fsync(::fileno(file_.get())) != 0)
      throw Error(target_.string() + ": cannot be written whole: is the disk full?");
    std::filesystem::rename(name_, target_);
    in_place_ = true;
  }

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };

  const std::filesystem::path& target_;
  std::string name_;
  std::unique_ptr<std::FILE, Close> file_;
  bool in_place_ = false;
};

}  // namespace

void merge_shards(const std::filesystem::path& folder) try {
  const Whole whole = read_parts(folder);
  std::vector<std::string> missing;
  for (Index i = 0; i < whole.shards; ++i)
    for (const std::string& ending : {std::string("json"), whole.format})
      if (std::error_code none;
          !std::filesystem::exists(folder / (shard_name(i) + "." + ending), none)) {
        missing.push_back(shard_name(i));
        break;
      }
  if (!missing.empty())
    throw UsageError(
        fmt::format("{}: {} of {} shards are missing, {} first: run their parts again with "
                    "--incremental",
                    folder.string(), missing.size(), whole.shards, missing.front()));
  const std::filesystem::path target = folder / ("predictions." + whole.format);
  MergedFile merged(target);
  ScoringCounts sum;
  json settings;
  std::string header;
  for (Index i = 0; i < whole.shards; ++i) {
    const json summary = read_json(folder / (shard_name(i) + ".json"));
    if (i == 0) settings = summary.at("settings");
    if (summary.at("settings") != settings)
      throw UsageError(fmt::format("{}/{}: made with other settings, or by another model, than {}",
                                   folder.string(), shard_name(i), shard_name(0)));
    append(merged.file(), folder / (shard_name(i) + "." + whole.format), summary, header,
           whole.format == "csv");
    add(sum, counts_of(summary));
  }
  merged.put_in_place();
  json summary = counts_json(sum);
  summary["shards"] = whole.shards;
  summary["settings"] = settings;
  write_json(folder / "summary.json", summary);
  fmt::print("{} pictures of {} shards, {} unreadable, {} fake, {} unsure: {}\n", sum.pictures,
             whole.shards, sum.unreadable, sum.fake, sum.unsure, target.string());
  std::fflush(stdout);
  end_if_unreadable(sum);
} catch (const json::exception& e) {
  throw DataError(
      fmt::format("{}: a summary in it is damaged ({})", folder.string(), json_fault(e)));
}

}  // namespace dfengine
