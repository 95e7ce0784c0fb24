// The names under which data sets file their real and their fake pictures.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/index.h"

namespace dfengine {

class ClassNames {
 public:
  // The usual names: real, 0_real and nature; fake, 1_fake and ai.
  ClassNames();
  // "REAL,FAKE" gives these two names alone, and "" the usual ones. Throws UsageError for anything
  // else.
  explicit ClassNames(const std::string& pair);

  // 0 for real, 1 for fake, -1 for neither. Upper and lower case are the same.
  int label_of(std::string_view name) const;
  const std::vector<std::string>& of(int label) const { return names_[at(label)]; }

 private:
  std::array<std::vector<std::string>, 2> names_;  // lower case
};

// Turns A-Z into a-z and leaves other bytes alone.
std::string lower_case(std::string_view text);

}  // namespace dfengine
