// dfengine pack: labelled pictures, prepared once, in one file.
#include "engine/data/pack.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/data.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/commands.h"
#include "engine/data/digest.h"
#include "kernels/base/error.h"
#include "kernels/base/json_bytes.h"

namespace dfengine {
namespace {

struct Arguments {
  DataOptions data;
  std::vector<std::filesystem::path> places;  // [DATA] OUT
  std::filesystem::path output;
  Preparation how;
  int threads = 0;
  bool no_progress = false;
};

// A pack with pictures missing is there, and still the exit code says it.
void end_if_bad(std::size_t bad, Index records, const std::vector<Dataset>& splits,
                const std::filesystem::path& pack) {
  std::vector<BadFile> unlisted;
  for (const Dataset& split : splits)
    unlisted.insert(unlisted.end(), split.unlisted.begin(), split.unlisted.end());
  std::vector<std::string> faults;
  if (bad > 0)
    faults.push_back(
        fmt::format("{} of {} pictures could not be read; whoever reads {} is told which, and "
                    "the same command tries again those that it could not open",
                    bad, records, pack.string()));
  if (!unlisted.empty())
    faults.push_back(
        fmt::format("{} could not be listed, {} first: {}; whoever reads {} is told nothing of "
                    "that: mend it, remove the file and pack again",
                    unlisted.size(), readable(unlisted.front().relative), unlisted.front().reason,
                    pack.string()));
  if (!faults.empty()) throw Exit{ExitCode::BadData, fmt::format("{}", fmt::join(faults, "; "))};
}

// True when the file is there and holds these very pictures; another file is not written over.
bool is_done(const Arguments& a, const std::vector<Dataset>& splits) {
  if (!std::filesystem::exists(a.output)) return false;
  const Pack pack(a.output);
  if (write_index(pack.index()) == write_index({a.how, source_digest(splits), splits})) {
    if (can_be_completed(pack, splits)) return false;
    fmt::print("{} is up to date\n", a.output.string());
    end_if_bad(pack.bad().size(), pack.index().records(), splits, a.output);
    return true;
  }
  throw DataError(a.output.string() +
                  " was packed from other files or with other settings (its source changed, or "
                  "--img-size, --resize, --crop differ): remove it, or name another file");
}

void run_pack(Arguments& a) {
  a.output = a.places.back();
  if (a.places.size() == 2) {
    if (!a.data.data.empty())
      throw UsageError(fmt::format("DATA {} and --data {} name two sets: leave one out",
                                   a.places.front().string(), a.data.data.string()));
    a.data.data = a.places.front();
  }
  if (!is_pack(a.output))
    throw UsageError(fmt::format("the output's name ends in {}", kPackExtension));
  const DataSource source = open_data(a.data, {});
  fmt::print("{}\n", source.describe());
  if (is_done(a, source.splits)) return;
  fmt::print("{}: {} MiB to write\n", a.output.string(),
             pack_file_bytes(source.splits, a.how) >> 20);
  std::fflush(stdout);
  ThreadPool pool(ThreadPool::count_for(a.threads));
  ProgressLine line(!a.no_progress);
  const std::atomic<bool>& interrupted = catch_interrupt();
  const PackResult result =
      write_pack(a.output, source.splits, a.how, pool, [&](Index done, Index total) {
        line.show("", done, total);
        return !interrupted;
      });
  line.clear();
  if (!result.finished)
    throw Exit{ExitCode::Interrupted, "interrupted; the same command goes on where it stopped"};
  fmt::print("{} pictures packed, {} of them by an earlier try\n", result.records, result.resumed);
  end_if_bad(result.bad.size(), result.records, source.splits, a.output);
}

}  // namespace

void add_pack(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "pack",
      "Decode and resize pictures once, into one file that train, eval and bench take.",
      std::string("OUT.dfpack is given to other commands as --data. Made again, it is left as "
                  "it is where nothing changed; after Ctrl-C the same command goes on where it "
                  "stopped. Pictures that cannot be read and folders that cannot be listed are "
                  "counted and the exit code is 3; who reads the file is told which pictures "
                  "they are.\n") +
          kDataNotes,
      run_pack);
  add_data(command, a.data);
  command
      .add_option("DATA", a.places,
                  "Folder or table of pictures (or --data, --csv), then the file OUT.dfpack to "
                  "write.")
      ->expected(1, 2)
      ->required();
  command
      .add_option("--img-size", a.how.size,
                  "The side in pixels, from 8 to 4096: that of the model.")
      ->check(within(Index{8}, Index{4096}))
      ->capture_default_str();
  add_resize(command, a.how.resize, a.how.crop);
  add_max_pixels(command, a.how.max_pixels);
  add_threads(command, a.threads);
  add_no_progress(command, a.no_progress);
}

}  // namespace dfengine
