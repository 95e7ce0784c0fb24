// One setting of a struct of options, stated once: how the command line, files and errors call it,
// what it is for, where it lies and what it may be. A table of such rows makes the struct's command
// line (apps/dfengine/arguments/settings.h), its JSON (option_json.h) and its checks.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <variant>

#include "kernels/base/error.h"

namespace dfengine {

template <class Of, class... Values>
struct OptionRow {
  using Options = Of;

  const char* flag = "";  // "--epochs"; "--hflip,!--no-hflip" can be switched off again
  const char* key;        // in JSON
  std::variant<Values Options::*...> place;
  const char* help = "";     // "": the command line lacks it, or has it from another group
  const char* allowed = "";  // what `accepts` accepts, in words: "at least 1"
  bool (*accepts)(const Options&) = nullptr;
  // Of a number that also has names: both ways.
  int (*from_words)(const std::string&) = nullptr;
  std::string (*to_words)(int) = nullptr;
  const char* usual = "";  // what the default means, where its value does not say it
  // JSON of older versions lacks it; it stands there where it is not the default.
  bool added_later = false;
  // Another option without which this one does nothing, and whether that is on.
  const char* partner = "";
  bool (*has_partner)(const Options&) = nullptr;

  // As errors call it.
  std::string name() const {
    const std::string all = *flag != 0 ? flag : key;
    return all.substr(0, all.find(','));
  }
};

// The row of an option that a table has; `name` is as errors call it.
template <class Rows>
const auto& row_of(const Rows& rows, std::string_view name) {
  return *std::ranges::find_if(rows, [&](const auto& row) { return row.name() == name; });
}

// Throws UsageError for the first value that its row does not accept.
template <class Rows, class Options>
void check_options(const Rows& rows, const Options& options) {
  for (const auto& row : rows)
    if (row.accepts != nullptr && !row.accepts(options))
      throw UsageError(row.name() + " must be " + row.allowed);
}

}  // namespace dfengine
