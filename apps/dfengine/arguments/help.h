// How help is laid out: lines of at most 96 characters, and every option's default in words.
#pragma once

#include <CLI/CLI.hpp>
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

// Adds what there is to know of a command below its options, paragraph by paragraph, before what
// already stands there. Lines that begin with a space are printed as they are.
void add_notes(CLI::App& command, const std::string& notes);

}  // namespace dfengine
