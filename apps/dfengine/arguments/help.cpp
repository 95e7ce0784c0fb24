#include "apps/dfengine/arguments/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <sstream>

namespace dfengine {
namespace {

constexpr std::size_t kWidth = 96;
constexpr std::size_t kColumn = 26;  // where the texts of options and commands begin

// `text` in lines that begin at `column`; what `head` holds stands before the first one.
std::string in_column(const std::string& head, const std::string& text, std::size_t column) {
  std::string all = head;
  std::size_t at = head.size();
  const auto next_line = [&] {
    all += "\n" + std::string(column, ' ');
    at = column;
  };
  if (at + 2 > column && !head.empty()) {
    next_line();
  } else {
    all += std::string(column - at, ' ');
    at = column;
  }
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (at > column && at + 1 + word.size() > kWidth) next_line();
    if (at > column) {
      all += ' ';
      ++at;
    }
    all += word;
    at += word.size();
  }
  return all + "\n";
}

std::string paragraphs(const std::string& text) {
  std::istringstream lines(text);
  std::string all;
  for (std::string line; std::getline(lines, line);)
    all += line.starts_with(' ') || line.empty() ? line + "\n" : in_column("", line, 0);
  return all;
}

// "INT", or "{a,b}" for a choice; what else validators have to say stands in the help's words.
std::string type_of(const CLI::Option& option) {
  if (option.get_type_size() == 0) return "";
  const std::string all = option.get_type_name();
  const std::size_t choice = all.find('{');
  std::string type = choice == all.npos ? all.substr(0, all.find(':')) : all.substr(choice);
  if (option.get_expected_max() > 1) type += " ...";
  return " " + type + (option.get_required() ? " REQUIRED" : "");
}

std::string joined(const std::set<CLI::Option*>& options) {
  std::set<std::string> names;
  for (const CLI::Option* option : options) names.insert(option->get_name());
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return paragraphs(app->get_description());
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  return paragraphs(app->get_footer());
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return in_column("  " + command->get_name(), command->get_description(), kColumn);
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  // CLI11 writes "--no-hflip{false}" for a flag that switches off.
  std::string name = is_positional ? option->get_name(true) : option->get_name(false, true);
  for (std::size_t at; (at = name.find("{false}")) != name.npos;) name.erase(at, 7);
  std::string text = option->get_description();
  if (!option->get_needs().empty())
    text += fmt::format(" Only with {}.", joined(option->get_needs()));
  if (!option->get_excludes().empty())
    text += fmt::format(" Not with {}.", joined(option->get_excludes()));
  if (!option->get_default_str().empty())
    text += fmt::format(" Default: {}.", option->get_default_str());
  return in_column("  " + name + type_of(*option), text, kColumn);
}

}  // namespace dfengine
