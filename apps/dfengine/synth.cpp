// dfengine synth: draws the synthetic face set.
#include "engine/synth/synth.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

namespace dfengine {

// Adds the subcommand; parsing the command line runs it. Errors leave as dfengine's exceptions.
void add_synth(CLI::App& program) {
  auto options = std::make_shared<SynthOptions>();
  CLI::App* command = program.add_subcommand(
      "synth", "Draw a set of synthetic faces: DIR/{train,valid,test}/{real,fake}");
  command->add_option("--output", options->output, "Folder to write to; no set may be in it yet")
      ->required();
  command->add_option("--count", options->count, "Pictures in all, half of them fake")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Same seed, same bytes")->capture_default_str();
  command->add_option("--size", options->size, "Side in pixels: the size you will train at")
      ->capture_default_str();
  command->callback([options] {
    write_synth_set(*options);
    fmt::print("{} pictures of {}x{} in {} (seed {}): 80 % train, 10 % valid, 10 % test\n",
               options->count, options->size, options->size, options->output.string(),
               options->seed);
  });
}

}  // namespace dfengine
