// What one field of a table says: nothing, a number, a point in time, or words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dfengine {

// The text without blanks at both ends.
std::string_view trimmed(std::string_view text);

// Whether the text is empty, or a word that stands for nothing: NA, N/A, NaN, null or none, in
// upper or lower case. It expects trimmed text, like all functions below.
bool is_missing(std::string_view text);

// Reads a finite decimal number. Digits behind a leading zero ("00945") are a code, not a number.
std::optional<double> parse_number(std::string_view text);

// A point in time as it is written. A time zone is read and not applied, so that the hour is that
// of the camera.
struct Timestamp {
  int year = 0, month = 1, day = 1;  // month and day count from 1
  int hour = 0, minute = 0, second = 0;

  int weekday() const;  // Monday 0 to Sunday 6
};

// Reads ISO 8601, and what EXIF and exported tables make of it: YYYY-MM-DD, with / or : in place of
// -, which "T" or a blank and HH:MM[:SS[.fff]] may follow, and then Z or +HH:MM.
std::optional<Timestamp> parse_timestamp(std::string_view text);

// The runs of letters and digits in a text, in order.
std::vector<std::string> words(std::string_view text);

}  // namespace dfengine
