// dfengine synth: draws the synthetic face set.
#include "engine/synth/synth.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/dfengine/arguments/help.h"

namespace dfengine {

// Adds the subcommand; parsing the command line runs it. Errors leave as dfengine's exceptions.
void add_synth(CLI::App& program) {
  auto options = std::make_shared<SynthOptions>();
  CLI::App* command =
      program.add_subcommand("synth", "Draw a labelled set of faces to try everything on.");
  add_notes(
      *command,
      "OUTPUT holds train, valid and test (80, 10 and 10 %), each with real and fake. The same "
      "seed gives the same bytes on every machine.");
  command->add_option("--output", options->output, "Folder to write to. No set may be in it yet.")
      ->required();
  command
      ->add_option("--count", options->count,
                   "Pictures in all, from 20 to 1000000, half of them fake.")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "The seed of what is drawn.")->capture_default_str();
  command
      ->add_option(
          "--size", options->size,
          "The side in pixels: the size that you will train at, a multiple of 4 from 32 to 1024.")
      ->capture_default_str();
  command->callback([options] {
    write_synth_set(*options);
    fmt::print("{} pictures of {}x{} in {} (seed {}): 80 % train, 10 % valid, 10 % test\n",
               options->count, options->size, options->size, options->output.string(),
               options->seed);
  });
}

}  // namespace dfengine
