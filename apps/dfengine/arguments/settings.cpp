#include "apps/dfengine/arguments/settings.h"

#include <fmt/ranges.h>

#include "kernels/base/numbers.h"

namespace dfengine {
namespace {

// "0.5,1" as numbers.
std::vector<double> numbers(const std::string& option, const std::string& text) {
  const auto all = numbers_of(text);
  if (!all) throw UsageError(fmt::format("{} '{}': numbers separated by commas", option, text));
  return *all;
}

}  // namespace

std::string option_text(bool value) {
  return value ? "on" : "off";
}

std::string option_text(const Range& value) {
  return fmt::format("{:.3g},{:.3g}", value.low, value.high);
}

std::string option_text(const std::array<double, 4>& value) {
  return fmt::format("{}", fmt::join(value, ","));
}

std::string option_text(const std::vector<double>& value) {
  return fmt::format("{}", fmt::join(value, ","));
}

std::string option_text(const std::vector<std::string>& value) {
  return fmt::format("{}", fmt::join(value, ","));
}

std::string option_text(const std::filesystem::path& value) {
  return value.string();
}

std::string option_text(const ThresholdRule& value) {
  return to_string(value);
}

void parse_option(const std::string& option, const std::string& text, Range& value) {
  const std::vector<double> all = numbers(option, text);
  if (all.size() > 2) throw UsageError(fmt::format("{} '{}': LOW,HIGH", option, text));
  value = {all.front(), all.back()};
}

std::string option_text(const ClassWeights& value) {
  return to_string(value);
}

void parse_option(const std::string&, const std::string& text, ClassWeights& value) {
  value = parse_class_weights(text);
}

// One number stands for brightness, contrast and saturation, as in timm.
void parse_option(const std::string& option, const std::string& text,
                  std::array<double, 4>& value) {
  const std::vector<double> all = numbers(option, text);
  if (all.size() == 1) {
    value = {all[0], all[0], all[0], 0};
  } else if (all.size() == 3 || all.size() == 4) {
    value = {all[0], all[1], all[2], all.size() == 4 ? all[3] : 0};
  } else {
    throw UsageError(fmt::format("{} '{}': one, three or four numbers", option, text));
  }
}

void parse_option(const std::string&, const std::string& text, ThresholdRule& value) {
  value = parse_threshold_rule(text);
}

}  // namespace dfengine
