#include "engine/data/sets/class_names.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

ClassNames::ClassNames() : names_{{{"real", "0_real", "nature"}, {"fake", "1_fake", "ai"}}} {}

ClassNames::ClassNames(const std::string& pair) : ClassNames() {
  if (pair.empty()) return;
  const std::size_t comma = pair.find(',');
  const std::string real = lower_case(pair.substr(0, comma));
  const std::string fake = comma == std::string::npos ? "" : lower_case(pair.substr(comma + 1));
  if (real.empty() || fake.empty() || real == fake || fake.find(',') != std::string::npos) {
    throw UsageError("--classes '" + pair + "': two different names, REAL,FAKE");
  }
  names_ = {{{real}, {fake}}};
}

int ClassNames::label_of(std::string_view name) const {
  const std::string lower = lower_case(name);
  for (int label : {0, 1}) {
    if (std::ranges::find(of(label), lower) != of(label).end()) return label;
  }
  return -1;
}

}  // namespace dfengine
