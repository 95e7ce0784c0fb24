// The subcommands. Each add_* registers one, and parsing the command line runs it. Errors leave as
// exceptions.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace dfengine {

using AddCommand = void(CLI::App& program);
AddCommand add_ablate, add_audit, add_augment, add_average, add_bench, add_cascade, add_compare,
    add_convert, add_embed, add_eval, add_explain, add_hybrid, add_info, add_metadata, add_pack,
    add_predict, add_quantize, add_selftest, add_serve, add_synth, add_train;

// The exit codes of the program.
enum class ExitCode : int {
  Done = 0,
  Failed = 1,
  Usage = 2,
  BadData = 3,
  BadModel = 4,
  NoDevice = 5,
  Interrupted = 130,  // 128 + SIGINT, as shells have it
};

// Thrown by a command whose work is done but whose exit code is not 0. The message is printed.
struct Exit {
  ExitCode code;
  std::string message;
};

}  // namespace dfengine
