// dfengine synth: draws the synthetic face set.
#include "engine/synth/synth.h"

#include <fmt/format.h>

#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/commands.h"

namespace dfengine {
namespace {

void run_synth(const SynthOptions& o) {
  write_synth_set(o);
  fmt::print("{} pictures of {}x{} in {} (seed {}): 80 % train, 10 % valid, 10 % test\n", o.count,
             o.size, o.size, o.output.string(), o.seed);
}

}  // namespace

void add_synth(CLI::App& program) {
  const auto [command, options] = add_command<SynthOptions>(
      program, "synth", "Draw a labelled set of faces to try everything on.",
      "OUTPUT holds train, valid and test (80, 10 and 10 %), each with real and fake. The same "
      "seed gives the same bytes on every machine.",
      run_synth);
  command.add_option("--output", options.output, "Folder to write to. No set may be in it yet.")
      ->required();
  command
      .add_option("--count", options.count,
                  "Pictures in all, from 20 to 1000000, half of them fake.")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "The seed of what is drawn.")->capture_default_str();
  command
      .add_option(
          "--size", options.size,
          "The side in pixels: the size that you will train at, a multiple of 4 from 32 to 1024.")
      ->capture_default_str();
}

}  // namespace dfengine
