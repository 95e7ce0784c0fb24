// dfengine: the program. Registers the subcommands and turns exceptions into exit codes.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <sstream>

#include "apps/dfengine/arguments/every_option.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/clean_output.h"
#include "apps/dfengine/commands.h"
#include "apps/dfengine/ranks/ranks.h"
#include "kernels/base/error.h"
#include "kernels/base/memory.h"

namespace {

using dfengine::ExitCode;

int report(ExitCode code, const char* message) {
  std::fprintf(stderr, "dfengine: %s%s\n", dfengine::rank_prefix().c_str(), message);
  dfengine::end_ranks(static_cast<int>(code));
  return static_cast<int>(code);
}

int run(int argc, char** argv) {
  CLI::App program("Detector of synthetic faces: MobileNetV2 training and inference", "dfengine");
  program.set_version_flag("--version", DFENGINE_VERSION);
  program.require_subcommand(1);
  program.formatter(std::make_shared<dfengine::HelpFormatter>());
  program.footer(
      "Exit codes: 0 done, 1 failed run, 2 usage, 3 bad data, 4 bad model or weights file, "
      "5 no device, 130 interrupted.");
  // In the order of --help.
  using namespace dfengine;
  for (AddCommand* add :
       {add_audit,    add_train,   add_eval,    add_predict, add_embed, add_metadata, add_hybrid,
        add_cascade,  add_explain, add_compare, add_convert, add_info,  add_ablate,   add_average,
        add_quantize, add_synth,   add_pack,    add_augment, add_bench, add_selftest})
    add(program);
#if DFENGINE_SERVE
  add_serve(program);
#endif
  check_every_option(program);
  if (argc == 1) {
    std::fputs(program.help().c_str(), stderr);
    return static_cast<int>(ExitCode::Usage);
  }
  const auto named = [&](const CLI::App* command) { return command->check_name(argv[1]); };
  if (argv[1][0] != '-' && program.get_subcommands(named).empty())
    throw UsageError(fmt::format("there is no command '{}': dfengine --help lists all", argv[1]));
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    std::ostringstream out, error;
    const int code = program.exit(e, out, error);
    fmt::print("{}", out.str());
    fmt::print(stderr, "{}", error.str());
    if (code != 0) return static_cast<int>(ExitCode::Usage);
  }
  // What is buffered may still meet a full disk.
  std::fflush(stdout);
  if (std::ferror(stdout) != 0) return report(ExitCode::Failed, "cannot write standard output");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // A closed pipe and a limit on the size of files are errors of a write, which says so.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  dfengine::clean_output();
  try {
    return run(argc, argv);
  } catch (const dfengine::Exit& e) {
    return report(e.code, e.message.c_str());
  } catch (const dfengine::UsageError& e) {
    return report(ExitCode::Usage, e.what());
  } catch (const dfengine::DataError& e) {
    return report(ExitCode::BadData, e.what());
  } catch (const dfengine::ModelFileError& e) {
    return report(ExitCode::BadModel, e.what());
  } catch (const dfengine::DeviceError& e) {
    return report(ExitCode::NoDevice, e.what());
  } catch (const std::bad_alloc&) {
    const std::string held = fmt::format(
        "out of memory: this process held {} MiB, and the system has {} MiB left; try fewer "
        "--threads, or a smaller --batch-size where the command has one",
        dfengine::peak_resident_bytes() >> 20, dfengine::available_bytes() >> 20);
    return report(ExitCode::Failed, held.c_str());
  } catch (const std::exception& e) {
    return report(ExitCode::Failed, e.what());
  }
}
