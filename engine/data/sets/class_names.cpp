#include "engine/data/sets/class_names.h"

#include <algorithm>
#include <optional>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

struct Word {
  std::string_view text;
  int label = -1;
  std::string_view split = "";
};

// Those without a meaning of their own may stand beside the others.
constexpr Word kWords[] = {{"real", 0},
                           {"reals", 0},
                           {"nature", 0},
                           {"authentic", 0},
                           {"genuine", 0},
                           {"original", 0},
                           {"originals", 0},
                           {"human", 0},
                           {"humans", 0},
                           {"natural", 0},
                           {"pristine", 0},
                           {"bonafide", 0},
                           {"bona", 0},
                           {"fake", 1},
                           {"fakes", 1},
                           {"ai", 1},
                           {"deepfake", 1},
                           {"deepfakes", 1},
                           {"generated", 1},
                           {"aigenerated", 1},
                           {"aigc", 1},
                           {"synthetic", 1},
                           {"synthesized", 1},
                           {"manipulated", 1},
                           {"forged", 1},
                           {"forgery", 1},
                           {"forgeries", 1},
                           {"tampered", 1},
                           {"spoof", 1},
                           {"spoofed", 1},
                           {"artificial", 1},
                           {"train", -1, "train"},
                           {"training", -1, "train"},
                           {"trainset", -1, "train"},
                           {"trn", -1, "train"},
                           {"valid", -1, "valid"},
                           {"val", -1, "valid"},
                           {"validation", -1, "valid"},
                           {"validate", -1, "valid"},
                           {"validating", -1, "valid"},
                           {"valset", -1, "valid"},
                           {"dev", -1, "valid"},
                           {"test", -1, "test"},
                           {"testing", -1, "test"},
                           {"testset", -1, "test"},
                           {"tst", -1, "test"},
                           {"set"},
                           {"sets"},
                           {"split"},
                           {"data"},
                           {"dataset"},
                           {"class"},
                           {"image"},
                           {"images"},
                           {"img"},
                           {"imgs"},
                           {"picture"},
                           {"pictures"},
                           {"photo"},
                           {"photos"},
                           {"face"},
                           {"faces"},
                           {"sample"},
                           {"samples"},
                           {"frame"},
                           {"frames"},
                           {"sequence"},
                           {"sequences"},
                           {"fide"},
                           {"deep"}};

// "not_fake", "non-AI": the class that stands behind is the other one.
constexpr std::string_view kNegations[] = {"not", "non"};

enum class Kind { Other, Lower, Upper, Digit };

Kind kind_of(char c) {
  if (c >= 'A' && c <= 'Z') return Kind::Upper;
  if (c >= '0' && c <= '9') return Kind::Digit;
  const bool letter = (c >= 'a' && c <= 'z') || (c & 0x80) != 0;  // whatever UTF-8 writes
  return letter ? Kind::Lower : Kind::Other;
}

// "TrainingFake_01" in words of lower case: training, fake, 01. A capital begins a word where a
// small letter stands before or after it.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words;
  Kind before = Kind::Other;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const Kind kind = kind_of(name[i]);
    const Kind next = i + 1 < name.size() ? kind_of(name[i + 1]) : Kind::Other;
    const bool capital = kind == Kind::Upper && before == Kind::Upper && next == Kind::Lower;
    const bool goes_on = kind == before || (before == Kind::Upper && kind == Kind::Lower);
    if (kind != Kind::Other && (!goes_on || capital)) words.emplace_back();
    if (kind != Kind::Other) words.back() += lower_case(name.substr(i, 1));
    before = kind;
  }
  return words;
}

// The meaning of all words together; nothing where they contradict each other or one is unknown.
std::optional<NameMeaning> usual_meaning(std::string_view name) {
  NameMeaning all;
  bool negated = false;
  for (const std::string& word : words_of(name)) {
    if (kind_of(word[0]) == Kind::Digit) continue;
    if (!negated && std::ranges::count(kNegations, word) > 0) {
      negated = true;
      continue;
    }
    const auto known = std::ranges::find(kWords, word, &Word::text);
    if (known == std::end(kWords)) return std::nullopt;
    const int label = known->label >= 0 && negated ? 1 - known->label : known->label;
    if (label >= 0 && all.label >= 0 && label != all.label) return std::nullopt;
    if (!known->split.empty() && !all.split.empty() && known->split != all.split)
      return std::nullopt;
    if (label >= 0) all.label = label;
    if (!known->split.empty()) all.split = known->split;
  }
  if (negated && all.label < 0) return std::nullopt;
  return all;
}

// As names that a person gives are compared.
std::string plain(std::string_view name) {
  return lower_case(trimmed_field(name));
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view trimmed_field(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

ClassNames::ClassNames(const std::string& pair) {
  if (pair.empty()) return;
  const std::size_t comma = pair.find(',');
  const std::string real = plain(pair.substr(0, comma));
  const std::string fake = comma == std::string::npos ? "" : plain(pair.substr(comma + 1));
  if (real.empty() || fake.empty() || real == fake || fake.find(',') != std::string::npos) {
    throw UsageError("--classes '" + pair + "': two different names, REAL,FAKE");
  }
  usual_ = false;
  examples_ = {real, fake};
}

NameMeaning ClassNames::meaning(std::string_view name) const {
  if (usual_) return usual_meaning(name).value_or(NameMeaning());
  const std::string given = plain(name);
  for (int label : {0, 1})
    if (given == example(label)) return {label, ""};
  const std::optional<NameMeaning> usual = usual_meaning(name);
  return usual && usual->label < 0 ? *usual : NameMeaning();
}

std::string canonical_split(std::string_view name) {
  const std::optional<NameMeaning> usual = usual_meaning(name);
  const bool split = usual && usual->label < 0 && !usual->split.empty();
  return split ? usual->split : std::string(name);
}

}  // namespace dfengine
