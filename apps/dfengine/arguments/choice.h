// Options whose value is one of an enum's names.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "kernels/base/enum_names.h"

namespace dfengine {

template <class Enum, std::size_t N>
CLI::Option* add_choice(CLI::App& command, const std::string& option, Enum& value,
                        const EnumNames<Enum, N>& names, const std::string& help) {
  return command
      .add_option_function<std::string>(
          option, [&value, &names](const std::string& name) { value = names.parse(name); }, help)
      ->check(CLI::IsMember(names.names()))
      ->default_str(names.name_of(value));
}

template <NamedEnum Enum>
CLI::Option* add_choice(CLI::App& command, const std::string& option, Enum& value,
                        const std::string& help) {
  return add_choice(command, option, value, enum_names<Enum>, help);
}

// Without a default: `help` says what it means not to choose.
template <NamedEnum Enum>
CLI::Option* add_choice(CLI::App& command, const std::string& option, std::optional<Enum>& value,
                        const std::string& help) {
  return command
      .add_option_function<std::string>(
          option, [&value](const std::string& name) { value = parse_name<Enum>(name); }, help)
      ->check(CLI::IsMember(names_of<Enum>()));
}

}  // namespace dfengine
