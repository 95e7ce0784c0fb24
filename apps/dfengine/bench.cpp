// dfengine bench: how fast this machine runs the network, and feeds it with pictures.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/dfengine/bench_report.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/common.h"
#include "apps/dfengine/data_arguments.h"
#include "apps/dfengine/picture_arguments.h"
#include "engine/bench/timing.h"
#include "engine/report/environment.h"
#include "kernels/base/atomic_file.h"
#include "kernels/cpu/isa.h"

namespace dfengine {
namespace {

struct Arguments {
  DataOptions data;
  std::string split = "train";
  LoaderOptions how;
  AugmentArguments augment;
  DeviceOptions device;
  std::vector<Index> batches;
  double width = 1.0;
  bool layers = false;
  Index count = 800;
  int rounds = 5;
  std::filesystem::path json;
};

// Two cores take a minute for what a GPU does in a second.
std::vector<Index> batches_for(const Arguments& a, Work work) {
  if (!a.batches.empty()) return a.batches;
  if (a.device.kind() == DeviceKind::Cpu)
    return work == Work::Infer ? std::vector<Index>{1, 32} : std::vector<Index>{32};
  return work == Work::Infer ? std::vector<Index>{1, 32, 256, 1024} : std::vector<Index>{64, 256};
}

std::string device_name(const BenchTarget& target) {
  const std::string wanted = target.device != nullptr ? "GPU" : "processor";
  for (const auto& [name, value] : report::environment(target.pool.size()))
    if (name == wanted) return value;
  return "unknown";
}

double measure_copy(const BenchTarget& target) {
  // Beyond the caches that one stream of copies can use.
  constexpr Index kHostBytes = Index{64} << 20, kDeviceBytes = Index{256} << 20;
  return target.device != nullptr ? copy_rate(*target.device, kDeviceBytes, target.rounds)
                                  : copy_rate(target.pool, kHostBytes, target.rounds);
}

// Each line as soon as it is known.
void say(const std::string& text) {
  fmt::print("{}", text);
  std::fflush(stdout);
}

nlohmann::json bench_network(const Arguments& a, const BenchTarget& target, double copy) {
  nlohmann::json rows = nlohmann::json::array();
  say(network_header(target.device != nullptr));
  for (const Work work : {Work::Infer, Work::Train, Work::Frozen, Work::Head})
    for (const Index batch : batches_for(a, work)) {
      const NetworkTiming timing = measure_network(target, work, batch);
      say(network_line(timing, copy));
      rows.push_back(to_json(timing, copy));
    }
  return rows;
}

nlohmann::json bench_layers(const Arguments& a, const BenchTarget& target, double copy) {
  nlohmann::json tables = nlohmann::json::array();
  for (const Work work : {Work::Infer, Work::Train}) {
    const LayerTable table = measure_layers(target, work, batches_for(a, work).back());
    say("\n" + layers_text(table, copy));
    tables.push_back(to_json(table, copy));
  }
  return tables;
}

void bench_data(Arguments& a, const BenchTarget& target, nlohmann::json& report) {
  constexpr double kSecondsPerRound = 2;
  a.how.augment = a.augment.over({});
  a.how.on_bad = a.data.on_bad;
  a.how.threads = target.pool.size();
  a.how.batch = batches_for(a, Work::Train).back();
  const DataSource source = open_data(a.data, {a.split});
  const FeedRates rates = measure_feed(source.splits.front(), a.how, a.count, a.rounds);
  say("\n" + feed_text(rates, a.how));
  report["feed"] = to_json(rates);
  const FilesTiming files =
      measure_files_training(target, source.splits.front(), a.how, kSecondsPerRound * a.rounds);
  say(files_text(files));
  report["files"] = to_json(files);
}

void run_bench(Arguments& a) {
  a.device.check();
  MobileNetV2Config config;
  config.width = a.width;
  config.input_size = a.how.size;
  config.validate();
  ThreadPool pool(a.device.thread_count());
  const std::optional<Device> device = a.device.open();
  const BenchTarget target{config, pool, device ? &*device : nullptr, a.rounds};
  const double copy = measure_copy(target);
  const char* precision = name_of(device ? device->config().precision : Precision::Fp32);
  nlohmann::json report = {{"engine_version", DFENGINE_VERSION},
                           {"isa", cpu::isa_name(cpu::current_isa())},
                           {"device", device ? "cuda" : "cpu"},
                           {"device_name", device_name(target)},
                           {"precision", precision},
                           {"graphs", device && device->config().graphs},
                           {"deterministic", device && device->config().deterministic},
                           {"threads", pool.size()},
                           {"width", a.width},
                           {"img_size", a.how.size},
                           {"rounds", a.rounds},
                           {"copy_gigabytes_per_second", copy}};
  say(fmt::format(
      "{}; MobileNetV2 {:g} at {}, {}; {} threads, {} kernels; a copy moves {:.1f} GB/s\n",
      device_name(target), a.width, a.how.size, precision, pool.size(),
      cpu::isa_name(cpu::current_isa()), copy));
  report["network"] = bench_network(a, target, copy);
  if (a.layers) report["layers"] = bench_layers(a, target, copy);
  if (a.data.has_source()) bench_data(a, target, report);
  report["peak_resident_bytes"] = peak_resident_bytes();
  say(fmt::format("peak memory of the program {} MiB\n", peak_resident_bytes() >> 20));
  if (!a.json.empty()) write_text(a.json, report.dump(2) + "\n");
}

}  // namespace

void add_bench(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "bench",
      "Speed of the network: inference, training, frozen base, head alone; with --data also of "
      "decoding, feeding and training from files");
  add_data_places(*command, a->data);
  add_data_settings(*command, a->data, "--fractions");
  command->add_option("--split", a->split, "Part of the data to measure")->capture_default_str();
  command
      ->add_option(
          "--batch-sizes", a->batches,
          "Pictures at once, such as 1,32; default on the CPU 1,32 and for training 32, "
          "with cuda 1,32,256,1024 and 64,256. The last one is that of --layers and --data")
      ->delimiter(',')
      ->check(CLI::Range(Index{1}, Index{65536}));
  command->add_flag("--layers", a->layers, "Time, bytes and rates of every step of the plans too");
  command->add_option("--width", a->width, "Width multiplier")->capture_default_str();
  command->add_option("--img-size", a->how.size, "Side in pixels: a multiple of 32, 96 to 320")
      ->capture_default_str();
  a->device.add_to(*command);
  add_resize(*command, a->how.resize, a->how.crop);
  add_max_pixels(*command, a->how.max_pixels);
  a->augment.add_to(*command);
  command->add_option("--count", a->count, "Pictures in each round of the feed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--rounds", a->rounds,
                   "Of each measurement: the median counts, of the feed the fastest")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--json", a->json, "File for the figures");
  command->callback([a] { run_bench(*a); });
}

}  // namespace dfengine
