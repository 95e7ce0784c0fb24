// The names under which data sets file their splits and their real and fake pictures.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/index.h"

namespace dfengine {

// What the name of a folder says, in any case and usual spelling: Train, training_fake, 0_real.
struct NameMeaning {
  int label = -1;          // 0 for real, 1 for fake, -1 for neither
  std::string split = "";  // train, valid or test; "" for none
};

class ClassNames {
 public:
  // The usual names, such as real, 0_real and nature; fake, 1_fake, ai and deepfakes.
  ClassNames() = default;
  // "REAL,FAKE" gives these two names alone, in any case and with spaces around them, and "" the
  // usual ones. Throws UsageError for anything else.
  explicit ClassNames(const std::string& pair);

  // A name means what its words mean: one class, one split or both, beside numbers and words such
  // as "images" and "set". Any other word, or two classes, make it mean nothing.
  NameMeaning meaning(std::string_view name) const;
  // The label alone.
  int label_of(std::string_view name) const { return meaning(name).label; }
  // A name of the class for messages.
  const std::string& example(int label) const { return examples_[at(label)]; }

 private:
  bool usual_ = true;
  std::array<std::string, 2> examples_ = {"real", "fake"};  // lower case
};

// train, valid or test where the name means one of these, else the name itself.
std::string canonical_split(std::string_view name);

// Turns A-Z into a-z and leaves other bytes alone.
std::string lower_case(std::string_view text);

// `text` without spaces and tabs at both ends.
std::string_view trimmed_field(std::string_view text);

}  // namespace dfengine
