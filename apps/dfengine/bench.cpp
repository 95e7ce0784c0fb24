// dfengine bench: how fast this machine feeds pictures.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/dfengine/commands.h"
#include "apps/dfengine/common.h"
#include "apps/dfengine/data_arguments.h"
#include "apps/dfengine/picture_arguments.h"
#include "engine/data/feed_bench.h"
#include "engine/train/run_files.h"
#include "kernels/cpu/isa.h"

namespace dfengine {
namespace {

struct Arguments {
  DataOptions data;
  std::string split = "train", resize = "bilinear", crop = "none";
  LoaderOptions how;
  AugmentArguments augment;
  Index count = 800;
  int rounds = 5, threads = 0;
  std::filesystem::path json;
};

nlohmann::json to_json(const FeedRates& r) {
  return {{"pictures", r.pictures},       {"threads", r.threads},
          {"megapixels", r.megapixels},   {"decode", r.decode},
          {"resize", r.resize},           {"decode_resize", r.decode_resize},
          {"augment", r.augment},         {"read", r.read},
          {"all_threads", r.all_threads}, {"feed", r.feed},
          {"feed_cached", r.feed_cached}};
}

void print_table(const FeedRates& r, const LoaderOptions& how) {
  const auto line = [](const char* what, double rate) {
    if (rate > 0) fmt::print("  {:34} {:10.0f}\n", what, rate);
  };
  fmt::print("{} pictures to {}x{} ({}, crop {}); augmentation: {}; {} kernels\n", r.pictures,
             how.size, how.size, resize_name(how.resize), crop_name(how.crop),
             describe(how.augment), cpu::isa_name(cpu::current_isa()));
  fmt::print("pictures a second, one thread\n");
  line("decode", r.decode);
  line("resize", r.resize);
  line("decode and resize", r.decode_resize);
  line("read from the packed file", r.read);
  line("augment", r.augment);
  fmt::print("pictures a second, {} threads\n", r.threads);
  line("prepare, files read anew", r.read > 0 ? 0 : r.all_threads);
  line("read from the packed file", r.read > 0 ? r.all_threads : 0);
  line("feed: batches of the loader", r.feed);
  line("feed from the memory cache", r.feed_cached);
}

nlohmann::json bench_data(Arguments& a) {
  a.how.resize = parse_resize(a.resize);
  a.how.crop = parse_crop(a.crop);
  a.how.augment = a.augment.over({});
  a.how.on_bad = a.data.on_bad;
  a.how.threads = a.threads > 0 ? a.threads : cpu::ThreadPool::available();
  const DataSource source = open_data(a.data, {a.split});
  const FeedRates rates = measure_feed(source.splits.front(), a.how, a.count, a.rounds);
  print_table(rates, a.how);
  return to_json(rates);
}

void run_bench(Arguments& a) {
  const nlohmann::json report = {{"engine_version", DFENGINE_VERSION},
                                 {"isa", cpu::isa_name(cpu::current_isa())},
                                 {"feed", bench_data(a)}};
  if (!a.json.empty()) write_text(a.json, report.dump(2) + "\n");
}

}  // namespace

void add_bench(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "bench", "Pictures a second that this machine can decode, resize, augment and feed");
  add_data_places(*command, a->data);
  add_data_settings(*command, a->data, "--fractions");
  command->add_option("--split", a->split, "Part of the data to measure")->capture_default_str();
  command->add_option("--img-size", a->how.size, "Side in pixels")
      ->check(CLI::Range(Index{8}, Index{1024}))
      ->capture_default_str();
  command->add_option("--batch-size", a->how.batch, "Pictures per batch")
      ->check(CLI::Range(Index{1}, Index{65536}))
      ->capture_default_str();
  add_resize(*command, a->resize, a->crop);
  add_max_pixels(*command, a->how.max_pixels);
  a->augment.add_to(*command);
  command->add_option("--count", a->count, "Pictures in each round")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--rounds", a->rounds, "The fastest round counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--threads", a->threads, "0: all this process may use")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--json", a->json, "File for the figures");
  command->callback([a] { run_bench(*a); });
}

}  // namespace dfengine
