#include "engine/tables/metadata/values.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>

namespace dfengine {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Reads a timestamp from the left.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool empty() const { return rest_.empty(); }

  bool one_of(std::string_view characters) {
    if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // Exactly so many digits, with a value in [low, high].
  bool number(std::size_t digits, int low, int high, int& out) {
    if (rest_.size() < digits || !std::all_of(rest_.begin(), rest_.begin() + digits, is_digit))
      return false;
    std::from_chars(rest_.data(), rest_.data() + digits, out);
    rest_.remove_prefix(digits);
    return out >= low && out <= high;
  }

  void digits() {
    while (!rest_.empty() && is_digit(rest_.front())) rest_.remove_prefix(1);
  }

  bool zone() {
    int ignored = 0;
    if (one_of("Z")) return true;
    if (!one_of("+-")) return true;
    if (!number(2, 0, 23, ignored)) return false;
    one_of(":");
    return empty() || number(2, 0, 59, ignored);
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

bool is_missing(std::string_view text) {
  if (text.empty()) return true;
  std::string low(text);
  for (char& c : low) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* word : {"na", "n/a", "nan", "null", "none"})
    if (low == word) return true;
  return false;
}

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with("+-")) return {};
  if (text.starts_with('+')) text.remove_prefix(1);
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.size() > 1 && digits[0] == '0' && is_digit(digits[1])) return {};
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

int Timestamp::weekday() const {
  namespace c = std::chrono;
  const c::year_month_day date{c::year(year), c::month(static_cast<unsigned>(month)),
                               c::day(static_cast<unsigned>(day))};
  return static_cast<int>(c::weekday(c::sys_days(date)).iso_encoding()) - 1;
}

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  constexpr std::string_view kDateMarks = "-/:";
  Timestamp t;
  Scanner s(text);
  const bool date = s.number(4, 1, 9999, t.year) && s.one_of(kDateMarks) &&
                    s.number(2, 1, 12, t.month) && s.one_of(kDateMarks) &&
                    s.number(2, 1, 31, t.day);
  if (!date) return {};
  if (s.empty()) return t;
  const bool time =
      s.one_of("T ") && s.number(2, 0, 23, t.hour) && s.one_of(":") && s.number(2, 0, 59, t.minute);
  if (!time) return {};
  if (s.one_of(":") && !s.number(2, 0, 60, t.second)) return {};
  if (s.one_of(".")) s.digits();
  if (!s.zone() || !s.empty()) return {};
  return t;
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
