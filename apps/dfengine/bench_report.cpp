#include "apps/dfengine/bench_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/cpu/isa.h"

namespace dfengine {
namespace {

double mib(Index bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

// 1e9 a second, of a count and milliseconds.
double giga_rate(Index count, double ms) {
  return static_cast<double>(count) / (ms * 1e6);
}

nlohmann::json to_json(const Timing& t, Index batch) {
  return {{"ms", t.median_ms},
          {"fastest_ms", t.fastest_ms},
          {"images_per_second", static_cast<double>(batch) * 1e3 / t.median_ms},
          {"rounds", t.rounds},
          {"repeats", t.repeats}};
}

nlohmann::json to_json(const LayerTiming& s, double copy_rate) {
  const double rate = giga_rate(s.cost.bytes, s.ms);
  return {{"layer", s.layer},
          {"kind", s.kind},
          {"kernels", s.kernels},
          {"pass", name_of(s.pass)},
          {"output", {s.output.n, s.output.h, s.output.w, s.output.c}},
          {"ms", s.ms},
          {"bytes", s.cost.bytes},
          {"flops", s.cost.flops},
          {"gigabytes_per_second", rate},
          {"share_of_copy", rate / copy_rate},
          {"gigaflops_per_second", giga_rate(s.cost.flops, s.ms)}};
}

// Columns behind the name of a layer, or of the sum.
std::string layer_columns(double ms, const StepCost& cost, double copy_rate, double all_ms) {
  const double rate = giga_rate(cost.bytes, ms);
  return fmt::format("{:10.1f} {:5.1f} % {:9.3f} {:8.1f} {:6.1f} % {:>10}", ms * 1e3,
                     100 * ms / all_ms, static_cast<double>(cost.bytes) / 1e6, rate,
                     100 * rate / copy_rate,
                     cost.flops > 0 ? fmt::format("{:.1f}", giga_rate(cost.flops, ms)) : "-");
}

}  // namespace

std::string feed_text(const FeedRates& r, const LoaderOptions& how) {
  std::string text =
      fmt::format("{} pictures to {}x{} ({}, crop {}); augmentation: {}; {} kernels\n", r.pictures,
                  how.size, how.size, name_of(how.resize), name_of(how.crop), describe(how.augment),
                  cpu::isa_name(cpu::current_isa()));
  const auto line = [&](const char* what, double rate) {
    if (rate > 0) text += fmt::format("  {:34} {:10.0f}\n", what, rate);
  };
  text += "pictures a second, one thread\n";
  line("decode", r.decode);
  line("resize", r.resize);
  line("decode and resize", r.decode_resize);
  line("read from the packed file", r.read);
  line("augment", r.augment);
  text += fmt::format("pictures a second, {} threads\n", r.threads);
  line("prepare, files read anew", r.read > 0 ? 0 : r.all_threads);
  line("read from the packed file", r.read > 0 ? r.all_threads : 0);
  line("feed: batches of the loader", r.feed);
  line("feed from the memory cache", r.feed_cached);
  return text;
}

std::string files_text(const FilesTiming& t) {
  return fmt::format(
      "training from files, batch {}: {:.1f} pictures a second over {}; {:.0f} % of the time "
      "waiting for pictures\n",
      t.batch, t.images_per_second, t.pictures, 100 * t.waited);
}

std::string network_header(bool device) {
  return fmt::format(
      "{:6} {:>5} {:>10} {:>10} {:>8} {:>8} {:>12}{}\n", "work", "batch", "ms", "img/s", "GB/s",
      "of copy", "planned MiB",
      device ? fmt::format(" {:>10} {:>10} {:>10}", "used MiB", "fed ms", "fed img/s") : "");
}

std::string network_line(const NetworkTiming& t, double copy_rate) {
  std::string text =
      fmt::format("{:6} {:5} {:10.3f} {:10.1f} {:8.1f} {:6.1f} % {:12.1f}", name_of(t.work),
                  t.batch, t.step.median_ms, t.images_per_second(), t.gigabytes_per_second(),
                  100 * t.gigabytes_per_second() / copy_rate, mib(t.planned_bytes));
  if (t.fed.rounds > 0)
    text += fmt::format(" {:10.1f} {:10.3f} {:10.1f}", mib(t.device_bytes), t.fed.median_ms,
                        static_cast<double>(t.batch) * 1e3 / t.fed.median_ms);
  return text + "\n";
}

std::string layers_text(const LayerTable& table, double copy_rate) {
  std::string text = fmt::format(
      "steps of {}, plan of batch {}; arena {:.1f} MiB, prepared weights {:.1f} MiB\n"
      "{:4} {:8} {:22} {:26} {:>18} {:>10} {:>7} {:>9} {:>8} {:>8} {:>10}\n",
      name_of(table.work), table.batch, mib(table.arena_bytes), mib(table.prepared_bytes), "step",
      "pass", "layer", "kind", "output", "us", "share", "MB", "GB/s", "of copy", "GFLOP/s");
  const double total_ms = table.total_ms();
  for (std::size_t i = 0; i < table.steps.size(); ++i) {
    const LayerTiming& s = table.steps[i];
    text += fmt::format("{:4} {:8} {:22} {:26} {:>18} ", i, name_of(s.pass), s.layer, s.kind,
                        to_string(s.output)) +
            layer_columns(s.ms, s.cost, copy_rate, total_ms) +
            (s.kernels.empty() ? "\n" : "  " + s.kernels + "\n");
  }
  return text + fmt::format("{:82} ", "sum, without the optimiser") +
         layer_columns(total_ms, table.total_cost(), copy_rate, total_ms) + "\n";
}

nlohmann::json to_json(const NetworkTiming& t, double copy_rate) {
  nlohmann::json json = to_json(t.step, t.batch);
  json.update({{"work", name_of(t.work)},
               {"batch", t.batch},
               {"bytes", t.cost.bytes},
               {"flops", t.cost.flops},
               {"gigabytes_per_second", t.gigabytes_per_second()},
               {"share_of_copy", t.gigabytes_per_second() / copy_rate},
               {"planned_bytes", t.planned_bytes}});
  if (t.fed.rounds > 0) {
    json["device_bytes"] = t.device_bytes;
    json["fed"] = to_json(t.fed, t.batch);
  }
  return json;
}

nlohmann::json to_json(const LayerTable& table, double copy_rate) {
  nlohmann::json steps = nlohmann::json::array();
  for (const LayerTiming& s : table.steps) steps.push_back(to_json(s, copy_rate));
  const StepCost cost = table.total_cost();
  return {{"work", name_of(table.work)},
          {"batch", table.batch},
          {"arena_bytes", table.arena_bytes},
          {"prepared_bytes", table.prepared_bytes},
          {"steps", steps},
          {"ms", table.total_ms()},
          {"bytes", cost.bytes},
          {"flops", cost.flops}};
}

}  // namespace dfengine
