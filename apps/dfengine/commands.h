// The subcommands. Each add_* registers one, and parsing the command line runs it. Errors leave as
// exceptions.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace dfengine {

void add_ablate(CLI::App& program);
void add_audit(CLI::App& program);
void add_cascade(CLI::App& program);
void add_hybrid(CLI::App& program);
void add_metadata(CLI::App& program);
void add_train(CLI::App& program);
void add_eval(CLI::App& program);
void add_predict(CLI::App& program);
void add_embed(CLI::App& program);
void add_compare(CLI::App& program);
void add_convert(CLI::App& program);
void add_explain(CLI::App& program);
void add_info(CLI::App& program);
void add_synth(CLI::App& program);
void add_pack(CLI::App& program);
void add_augment(CLI::App& program);
void add_bench(CLI::App& program);

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
