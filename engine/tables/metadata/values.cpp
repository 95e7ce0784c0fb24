#include "engine/tables/metadata/values.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <regex>

#include "engine/data/sets/class_names.h"
#include "kernels/base/numbers.h"

namespace dfengine {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

bool is_missing(std::string_view text) {
  constexpr std::string_view kNothing[] = {"", "na", "n/a", "nan", "null", "none"};
  return std::ranges::find(kNothing, lower_case(text)) != std::end(kNothing);
}

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with("+-")) return {};
  if (text.starts_with('+')) text.remove_prefix(1);
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') return {};
  const auto number = number_of<double>(text);
  return number && std::isfinite(*number) ? number : std::nullopt;
}

int Timestamp::weekday() const {
  namespace c = std::chrono;
  const c::year_month_day date{c::year(year), c::month(static_cast<unsigned>(month)),
                               c::day(static_cast<unsigned>(day))};
  return static_cast<int>(c::weekday(c::sys_days(date)).iso_encoding()) - 1;
}

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  constexpr std::size_t kLongest = 64;  // std::regex calls itself for each digit of a fraction
  static const std::regex kForm(
      "([0-9]{4})[-/:]([0-9]{2})[-/:]([0-9]{2})"
      "(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?(?:\\.[0-9]*)?"
      "(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?(?:[0-5][0-9])?))?)?");
  std::cmatch parts;
  if (text.size() > kLongest ||
      !std::regex_match(text.data(), text.data() + text.size(), parts, kForm))
    return {};
  const auto number = [&](int part) { return parts[part].matched ? std::stoi(parts[part]) : 0; };
  const Timestamp t{number(1), number(2), number(3), number(4), number(5), number(6)};
  const bool exists = t.year >= 1 && t.month >= 1 && t.month <= 12 && t.day >= 1 && t.day <= 31 &&
                      t.hour <= 23 && t.minute <= 59 && t.second <= 60;
  return exists ? std::optional(t) : std::nullopt;
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  bool inside = false;
  for (char c : text) {
    const bool part = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (part && !inside) out.emplace_back();
    if (part) out.back() += c;
    inside = part;
  }
  return out;
}

}  // namespace dfengine
