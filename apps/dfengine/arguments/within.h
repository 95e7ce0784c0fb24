// The check that an option's number lies in a range.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

namespace dfengine {

// CLI::Range would let NaN pass, which is neither below nor above.
template <class T>
CLI::Validator within(T least, T most) {
  return {[least, most](std::string& text) -> std::string {
            T value{};
            if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most)
              return "";
            return fmt::format("Value {} not in range {} to {}", text, least, most);
          },
          CLI::Range(least, most).get_description()};
}

// The same where `most` itself is too much.
template <class T>
CLI::Validator within_below(T least, T most) {
  return {[least, most](std::string& text) -> std::string {
            T value{};
            if (CLI::detail::lexical_cast(text, value) && value >= least && value < most) return "";
            return fmt::format("Value {} not in range {} to below {}", text, least, most);
          },
          CLI::Range(least, most).get_description()};
}

}  // namespace dfengine
