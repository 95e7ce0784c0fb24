#include "engine/tables/audit/separation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/evaluate/metrics/curves.h"
#include "kernels/base/numbers.h"
#include "kernels/base/random.h"

namespace dfengine::audit {
namespace {

constexpr std::size_t kFolds = 5;

// AUC of scores; 0.5 where there are none or a class is absent.
double auc_of(std::span<const double> scores, std::span<const int> label) {
  if (scores.empty()) return 0.5;
  const double auc = roc_auc(scores, label);
  return std::isfinite(auc) ? auc : 0.5;
}

double number_auc(std::span<const double> numbers, std::span<const int> label) {
  std::vector<double> present;
  std::vector<int> labels;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (std::isnan(numbers[i])) continue;
    present.push_back(numbers[i]);
    labels.push_back(label[i]);
  }
  const double auc = auc_of(present, labels);
  return std::max(auc, 1 - auc);
}

struct Counts {
  std::array<double, kFolds> rows{}, fakes{};
  double all_rows = 0, all_fakes = 0;
};

template <class Category>
double category_auc(std::span<const Category> categories, std::span<const int> label) {
  std::unordered_map<Category, Counts> counts;
  std::vector<std::size_t> fold(categories.size());
  double fakes = 0;
  for (std::size_t i = 0; i < categories.size(); ++i) {
    fold[i] = philox(0, RandomStream::Split, 1, static_cast<std::uint32_t>(i))[0] % kFolds;
    Counts& c = counts[categories[i]];
    ++c.rows[fold[i]];
    ++c.all_rows;
    c.fakes[fold[i]] += label[i];
    c.all_fakes += label[i];
    fakes += label[i];
  }
  const double share = fakes / static_cast<double>(std::max<std::size_t>(categories.size(), 1));
  std::vector<double> scores;
  scores.reserve(categories.size());
  for (std::size_t i = 0; i < categories.size(); ++i) {
    const Counts& c = counts.at(categories[i]);
    const double rows = c.all_rows - c.rows[fold[i]], found = c.all_fakes - c.fakes[fold[i]];
    scores.push_back((found + share) / (rows + 1));
  }
  return auc_of(scores, label);
}

std::string pattern_of(std::string_view text) {
  std::string pattern;
  for (char c : text) {
    char kind = c;
    if (c >= '0' && c <= '9') kind = '9';
    if (c >= 'a' && c <= 'z') kind = 'a';
    if (c >= 'A' && c <= 'Z') kind = 'A';
    const bool run = kind == '9' || kind == 'a' || kind == 'A';
    if (!run || pattern.empty() || pattern.back() != kind) pattern += kind;
  }
  return pattern;
}

double number_or_nan(const std::string& text) {
  const auto number = number_of<double>(text);
  return number && std::isfinite(*number) ? *number : std::numeric_limits<double>::quiet_NaN();
}

// Keeps the view that separates best.
class Best {
 public:
  explicit Best(std::span<const int> label) : label_(label) {}

  void offer(const std::string& view, double auc) {
    if (auc <= best_.auc) return;
    best_.auc = auc;
    best_.view = view;
  }

  Separation with(std::size_t distinct) {
    best_.distinct = static_cast<Index>(distinct);
    const auto n1 = static_cast<double>(std::ranges::count(label_, 1));
    const double n0 = static_cast<double>(label_.size()) - n1;
    if (n0 == 0 || n1 == 0) return best_;
    const double error = std::sqrt((n0 + n1 + 1) / (12 * n0 * n1));
    const bool beyond_chance = best_.auc - 0.5 > 5 * error;
    if (beyond_chance) best_.verdict = best_.auc >= kLeakAuc ? Verdict::Leak : Verdict::Hint;
    return best_;
  }

 private:
  std::span<const int> label_;
  Separation best_;
};

void offer_text_views(std::span<const std::string> texts, std::span<const int> label, Best& best) {
  std::vector<std::string_view> part(texts.size());
  const auto offer = [&](const std::string& view, auto take) {
    std::ranges::transform(texts, part.begin(), take);
    best.offer(view, category_auc<std::string_view>(part, label));
  };
  offer("value", [](const std::string& t) { return std::string_view(t); });
  offer("folder", [](const std::string& t) {
    return std::string_view(t).substr(0, t.find_last_of('/') == t.npos ? 0 : t.find_last_of('/'));
  });
  offer("extension", [](const std::string& t) {
    const std::size_t dot = t.find_last_of("./");
    return dot == t.npos || t[dot] == '/' ? std::string_view() : std::string_view(t).substr(dot);
  });
  offer("empty", [](const std::string& t) { return t.empty() ? "yes" : "no"; });
  for (std::size_t n : {1, 2, 4, 8, 16, 32}) {
    offer(fmt::format("first {} bytes", n),
          [n](const std::string& t) { return std::string_view(t).substr(0, n); });
  }
}

}  // namespace

Separation separate(std::span<const double> numbers, std::span<const int> label) {
  Best best(label);
  best.offer("number", number_auc(numbers, label));
  std::vector<double> categories(numbers.begin(), numbers.end());
  // NaN equals nothing, itself not either: one value for all of them.
  for (double& c : categories)
    if (std::isnan(c)) c = -std::numeric_limits<double>::infinity();
  best.offer("category", category_auc<double>(categories, label));
  return best.with(std::unordered_set<double>(categories.begin(), categories.end()).size());
}

Separation separate(std::span<const std::string> texts, std::span<const int> label) {
  Best best(label);
  offer_text_views(texts, label, best);
  std::vector<std::string> patterns(texts.size());
  std::ranges::transform(texts, patterns.begin(), pattern_of);
  best.offer("pattern", category_auc<std::string>(patterns, label));
  std::vector<double> numbers(texts.size());
  std::ranges::transform(texts, numbers.begin(),
                         [](const std::string& t) { return static_cast<double>(t.size()); });
  best.offer("length", number_auc(numbers, label));
  std::ranges::transform(texts, numbers.begin(), number_or_nan);
  if (std::ranges::none_of(numbers, [](double x) { return std::isnan(x); }))
    best.offer("number", number_auc(numbers, label));
  return best.with(std::unordered_set<std::string_view>(texts.begin(), texts.end()).size());
}

}  // namespace dfengine::audit
