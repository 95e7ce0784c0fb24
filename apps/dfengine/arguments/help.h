// How help is laid out: lines of at most 96 characters, and every option's default in words.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

namespace dfengine {

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  // What the option does, what else it needs or excludes, and "Default: ".
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
};

// A command and its arguments, which live as long as the program.
template <class Arguments>
struct Command {
  CLI::App& app;
  Arguments& arguments;
};

// Adds a command that parsing the command line runs. `notes`, what there is to know of it paragraph
// by paragraph, stand below its options; lines that begin with a space are printed as they are.
template <class Arguments, class Run>
Command<Arguments> add_command(CLI::App& program, const std::string& name,
                               const std::string& description, const std::string& notes, Run run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *program.add_subcommand(name, description);
  if (!notes.empty()) command.footer(notes + "\n" + command.get_footer());
  command.callback([arguments, run] { run(*arguments); });
  return {command, *arguments};
}

}  // namespace dfengine
