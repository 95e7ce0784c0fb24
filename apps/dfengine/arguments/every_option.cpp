#include "apps/dfengine/arguments/every_option.h"

#include <fmt/format.h>

#include <string>

namespace dfengine {
namespace {

// Looked at before the option's own checks, which do not know what an empty text comes from.
CLI::Validator not_empty() {
  return {[](std::string& text) -> std::string {
            if (!text.empty()) return "";
            return "an empty text is no value: leave the option out, or set the variable that it "
                   "comes from";
          },
          ""};
}

CLI::Validator not_negative() {
  return {[](std::string& text) -> std::string {
            if (!text.starts_with('-')) return "";
            return fmt::format("Value {} is negative", text);
          },
          ""};
}

}  // namespace

void check_every_option(CLI::App& program) {
  for (CLI::Option* option : program.get_options()) {
    if (option->get_type_size() == 0) continue;  // a flag
    if (option->get_type_name().starts_with("UINT")) option->transform(not_negative());
    option->transform(not_empty());
  }
  const auto all = [](const CLI::App*) { return true; };
  for (CLI::App* command : program.get_subcommands(all)) check_every_option(*command);
}

}  // namespace dfengine
