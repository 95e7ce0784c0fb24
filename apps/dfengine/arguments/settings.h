// A table of options (engine/data/option_row.h) as options of a command.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/dfengine/arguments/choice.h"
#include "engine/train/options.h"

namespace dfengine {

// A value as the command line takes it and help shows it.
template <class T>
std::string option_text(const T& value) {
  if constexpr (NamedEnum<T>)
    return name_of(value);
  else
    return fmt::format("{}", value);
}
template <NamedEnum T>
std::string option_text(const std::optional<T>& value) {
  return value ? name_of(*value) : "";
}
std::string option_text(bool value);
std::string option_text(const Range& value);
std::string option_text(const std::array<double, 4>& value);
std::string option_text(const std::vector<double>& value);
std::string option_text(const std::vector<std::string>& value);
std::string option_text(const std::filesystem::path& value);
std::string option_text(const ThresholdRule& value);
std::string option_text(const ClassWeights& value);

// The other way; `option` stands in the UsageError.
void parse_option(const std::string& option, const std::string& text, Range& value);
void parse_option(const std::string& option, const std::string& text, std::array<double, 4>& value);
void parse_option(const std::string& option, const std::string& text, ThresholdRule& value);
void parse_option(const std::string& option, const std::string& text, ClassWeights& value);

template <class T>
concept ParsedHere = requires(T& value) {
  parse_option("", "", value);
};

template <class Row, class T>
CLI::Option* add_option(CLI::App& command, const Row& row, T& value) {
  std::string help = row.help;
  if (*row.allowed != 0) help += fmt::format(" Allowed: {}.", row.allowed);
  if constexpr (std::is_same_v<T, bool>)
    return command.add_flag(row.flag, value, help);
  else if constexpr (ParsedHere<T>)
    return command.add_option_function<std::string>(
        row.flag,
        [&value, name = row.name()](const std::string& text) { parse_option(name, text, value); },
        help);
  else if constexpr (requires { add_choice(command, row.flag, value, help); })
    return add_choice(command, row.flag, value, help);
  else if constexpr (std::is_same_v<T, std::vector<double>>)
    return command.add_option(row.flag, value, help)->delimiter(',');
  else if constexpr (std::is_same_v<T, int>) {
    if (row.from_words == nullptr) return command.add_option(row.flag, value, help);
    return command.add_option_function<std::string>(
        row.flag,
        [&value, parse = row.from_words](const std::string& text) { value = parse(text); }, help);
  } else
    return command.add_option(row.flag, value, help);
}

template <class Row, class T>
std::string option_text(const Row& row, const T& value) {
  if constexpr (std::is_same_v<T, int>)
    if (row.to_words != nullptr) return row.to_words(value);
  return option_text(value);
}

// An option that writes into `options`, where its default stands.
template <class Row>
CLI::Option* add_row(CLI::App& command, const Row& row, typename Row::Options& options) {
  return std::visit(
      [&](auto place) {
        auto& value = options.*place;
        return add_option(command, row, value)
            ->default_str(*row.usual != 0 ? row.usual : option_text(row, value));
      },
      row.place);
}

// The rows of a table that have a help text, as options of a command.
template <class Row>
std::vector<CLI::Option*> add_rows(CLI::App& command, std::span<const Row> rows,
                                   typename Row::Options& options) {
  std::vector<CLI::Option*> all;
  for (const Row& row : rows)
    if (*row.help != 0) all.push_back(add_row(command, row, options));
  return all;
}

// Throws UsageError for an option that was given where the one that it belongs to is neither on in
// `options` nor given.
template <class Row>
void require_partners(const CLI::App& command, std::span<const Row> rows,
                      const typename Row::Options& options) {
  for (const Row& row : rows)
    if (*row.partner != 0 && command.count(row.name()) > 0 && command.count(row.partner) == 0 &&
        !row.has_partner(options))
      throw UsageError(fmt::format("{} does nothing without {}: name both, or leave it out",
                                   row.name(), row.partner));
}

// Another recipe's defaults: what makes them hold, for people, and the values.
template <class Options>
struct OtherDefaults {
  std::string when;
  Options values;
};

// Options whose defaults depend on a recipe: what the person named is put over the recipe's.
template <class Row>
class Settings {
 public:
  using Options = typename Row::Options;

  // Help names the defaults in `usual`, and those of `others` where they differ.
  std::vector<CLI::Option*> add_to(CLI::App& command, std::span<const Row> rows,
                                   const Options& usual,
                                   const std::vector<OtherDefaults<Options>>& others) {
    given_ = usual;
    std::vector<CLI::Option*> all;
    for (const Row& row : rows) {
      if (*row.help == 0) continue;
      CLI::Option* option = add_row(command, row, given_);
      std::visit(
          [&](auto place) {
            for (const auto& [when, other] : others)
              if (other.*place != usual.*place)
                option->default_str(fmt::format("{}; {}: {}", option->get_default_str(), when,
                                                option_text(row, other.*place)));
          },
          row.place);
      rows_.emplace_back(option, &row);
      all.push_back(option);
    }
    return all;
  }

  void put_over(Options& options) const {
    for (const auto& [option, row] : rows_)
      if (option->count() > 0)
        std::visit([&](auto place) { options.*place = given_.*place; }, row->place);
  }

 private:
  Options given_;
  std::vector<std::pair<CLI::Option*, const Row*>> rows_;
};

}  // namespace dfengine
