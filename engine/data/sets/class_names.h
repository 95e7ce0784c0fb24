// The names under which data sets file their real and their fake pictures.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace dfengine {

class ClassNames {
 public:
  // real, 0_real, nature; fake, 1_fake, ai.
  ClassNames();
  // "REAL,FAKE": these two names alone; "" : the names above. Throws UsageError for anything else.
  explicit ClassNames(const std::string& pair);

  // 0 real, 1 fake, -1 neither; upper and lower case are one.
  int label_of(std::string_view name) const;
  const std::vector<std::string>& of(int label) const {
    return names_[static_cast<std::size_t>(label)];
  }

 private:
  std::array<std::vector<std::string>, 2> names_;  // lower case
};

// A-Z become a-z; other bytes stay.
std::string lower_case(std::string_view text);

}  // namespace dfengine
