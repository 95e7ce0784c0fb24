// dfengine bench: how fast this machine runs the network, and feeds it with pictures.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/data.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/outputs.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/arguments/settings.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/bench_report.h"
#include "apps/dfengine/commands.h"
#include "engine/bench/timing.h"
#include "engine/report/environment.h"
#include "kernels/base/atomic_file.h"
#include "kernels/base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/cuda/context.h"

namespace dfengine {
namespace {

struct Arguments {
  DataOptions data;
  std::string split = "train";
  LoaderOptions how;
  DeviceOptions device;
  std::vector<Index> batches;
  double width = 1.0;
  bool layers = false;
  Index count = 800;
  int rounds = 5;
  bool quantized = false;
  bool grad_checkpoint = false;
  std::filesystem::path json;
  const CLI::App* command = nullptr;
};

// Two cores take a minute for what a GPU does in a second.
std::vector<Index> batches_for(const Arguments& a, Work work) {
  if (!a.batches.empty()) return a.batches;
  if (a.device.kind() == DeviceKind::Cpu)
    return work == Work::Infer ? std::vector<Index>{1, 32} : std::vector<Index>{32};
  return work == Work::Infer ? std::vector<Index>{1, 32, 256, 1024} : std::vector<Index>{64, 256};
}

// What is quantized is not trained.
std::vector<Work> works(const Arguments& a, std::vector<Work> all) {
  if (a.quantized) return {Work::Infer};
  return all;
}

std::string device_name(const BenchTarget& target) {
  return target.on_device() ? cuda::device_summary() : report::processor();
}

// Each line as soon as it is known.
void say(const std::string& text) {
  fmt::print("{}", text);
  std::fflush(stdout);
}

nlohmann::json bench_network(const Arguments& a, const BenchTarget& target, double copy) {
  nlohmann::json rows = nlohmann::json::array();
  say(network_header(target.on_device()));
  for (const Work work : works(a, {Work::Infer, Work::Train, Work::Frozen, Work::Head}))
    for (const Index batch : batches_for(a, work)) {
      const NetworkTiming timing = measure_network(target, work, batch);
      say(network_line(timing, copy));
      rows.push_back(to_json(timing, copy));
    }
  return rows;
}

nlohmann::json bench_layers(const Arguments& a, const BenchTarget& target, double copy) {
  nlohmann::json tables = nlohmann::json::array();
  for (const Work work : works(a, {Work::Infer, Work::Train})) {
    const LayerTable table = measure_layers(target, work, batches_for(a, work).back());
    say("\n" + layers_text(table, copy));
    tables.push_back(to_json(table, copy));
  }
  return tables;
}

void bench_data(Arguments& a, const Dataset& dataset, const BenchTarget& target,
                nlohmann::json& report) {
  constexpr double kSecondsPerRound = 2;
  a.how.on_bad = a.data.on_bad;
  a.how.threads = target.pool.size();
  a.how.batch = batches_for(a, Work::Train).back();
  const FeedRates rates = measure_feed(dataset, a.how, a.count, a.rounds);
  say("\n" + feed_text(rates, a.how));
  report["feed"] = rates;
  const FilesTiming files =
      measure_files_training(target, dataset, a.how, kSecondsPerRound * a.rounds);
  say(files_text(files));
  report["files"] = files;
}

// What would end the measuring at its end is looked at before it. Without data there is none.
std::optional<DataSource> check(const Arguments& a) {
  if (a.quantized && a.data.has_source())
    throw UsageError("--quantized measures inference alone: leave --data out");
  a.how.augment.validate();
  require_partners(*a.command, augment_options(), a.how.augment);
  if (!a.json.empty()) check_output(a.json, {a.data.csv, a.data.valid_csv, a.data.test_csv});
  if (!a.data.has_source()) return std::nullopt;
  return open_data(a.data, {a.split});
}

void run_bench(Arguments& a) {
  const std::optional<DataSource> source = check(a);
  a.device.resolve(a.quantized);
  NetworkConfig config;
  config.width = a.width;
  config.input_size = a.how.size;
  config.validate();
  ThreadPool pool(a.device.thread_count());
  const std::unique_ptr<Backend> backend = a.device.open(pool);
  if (a.quantized) config = quantized_config(config, pool);
  BenchTarget target(config, pool, *backend, a.rounds);
  target.grad_checkpoint = a.grad_checkpoint;
  const double copy = copy_rate(*backend, bytes_beyond_caches(*backend), a.rounds);
  const char* precision = a.quantized ? "int8" : name_of(a.device.resolved_precision());
  nlohmann::json report = {{"engine_version", DFENGINE_VERSION},
                           {"isa", cpu::isa_name(cpu::current_isa())},
                           {"device", target.on_device() ? "cuda" : "cpu"},
                           {"device_name", device_name(target)},
                           {"precision", precision},
                           {"graphs", target.on_device() && a.device.config().graphs},
                           {"grad_checkpoint", a.grad_checkpoint},
                           {"deterministic", target.on_device() && a.device.config().deterministic},
                           {"threads", pool.size()},
                           {"width", a.width},
                           {"img_size", a.how.size},
                           {"rounds", a.rounds},
                           {"copy_gigabytes_per_second", copy}};
  say(fmt::format("{}; {} {:g} at {}, {}; {} threads, {} kernels; a copy moves {:.1f} GB/s\n",
                  device_name(target), target.network.title, a.width, a.how.size, precision,
                  pool.size(), cpu::isa_name(cpu::current_isa()), copy));
  report["network"] = bench_network(a, target, copy);
  if (a.layers) report["layers"] = bench_layers(a, target, copy);
  if (source) bench_data(a, source->splits.front(), target, report);
  report["peak_resident_bytes"] = peak_resident_bytes();
  say(fmt::format("peak memory of the program {} MiB\n", peak_resident_bytes() >> 20));
  if (!a.json.empty()) write_text(a.json, report.dump(2) + "\n");
}

}  // namespace

void add_bench(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "bench", "Measure how fast this machine runs and feeds the network.",
      std::string(
          "Measures inference, training, training with a frozen base and of the head alone, "
          "on random weights and pictures; with --data also decoding, resizing, augmenting, "
          "feeding and training from files. Prints images per second, GB per second and "
          "memory. Times are medians. On a GPU they are those of events, with the batch in "
          "the GPU's memory; the column fed adds the copies and the host. GB per second count "
          "what a step must move at least, beside what a plain copy reaches in the same "
          "run. In the sources, bench/compare.sh runs it beside ONNX Runtime and PyTorch.\n") +
          kDataNotes,
      run_bench);
  a.command = &command;
  add_data(command, a.data);
  command.add_option("--split", a.split, "The part of --data that is measured.")
      ->capture_default_str();
  command
      .add_option("--batch-sizes", a.batches,
                  "Pictures at once, from 1 to 65536, such as 1,32. The last one is that of "
                  "--layers and --data.")
      ->delimiter(',')
      ->check(within(Index{1}, Index{65536}))
      ->default_str("1,32 and for training 32; with cuda 1,32,256,1024 and 64,256");
  command.add_flag("--layers", a.layers,
                   "Measure every step of the plans too: time, bytes and rates.");
  command.add_flag(
      "--quantized", a.quantized,
      "Measure inference of the network as dfengine quantize makes it, on the CPU, and "
      "no training.");
  command.add_flag("--grad-checkpoint", a.grad_checkpoint,
                   "Measure training as train --grad-checkpoint runs it.");
  command.add_option("--width", a.width, "The network's width multiplier, above 0 and up to 4.")
      ->capture_default_str();
  command
      .add_option("--img-size", a.how.size,
                  "The side of the network's input in pixels: a multiple of 32 from 96 to 320.")
      ->capture_default_str();
  a.device.add_to(command);
  add_resize(command, a.how.resize, a.how.crop);
  add_max_pixels(command, a.how.max_pixels);
  add_augment(command, a.how.augment);
  command.add_option("--count", a.count, "Pictures in each round of the feed, from 1 to 1000000.")
      ->check(within(Index{1}, Index{1000000}))
      ->capture_default_str();
  command
      .add_option(
          "--rounds", a.rounds,
          "Rounds of each measurement, from 1 to 1000000. The median counts, of the feed the "
          "fastest.")
      ->check(within(1, 1000000))
      ->capture_default_str();
  command.add_option("--json", a.json, "File for the figures as JSON.")
      ->default_str("none, the figures are only printed");
}

}  // namespace dfengine
