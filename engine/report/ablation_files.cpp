// The ladder's results as a table, as numbers and as a chart.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/report/svg_chart.h"
#include "engine/train/ablation.h"
#include "kernels/base/atomic_file.h"

namespace dfengine {
namespace {

struct Figure {
  const char* key;
  const char* title;
  double (*of)(const AblationRun&);
};

constexpr Figure kFigures[] = {
    {"accuracy", "accuracy", [](const AblationRun& r) { return r.test.accuracy; }},
    {"accuracy_at_half", "accuracy at .5", [](const AblationRun& r) { return r.accuracy_at_half; }},
    {"roc_auc", "ROC-AUC", [](const AblationRun& r) { return r.test.roc_auc; }},
};
constexpr std::size_t kDrawn[] = {0, 2};

struct Spread {
  double mean = 0, low = 0, high = 0;
};

Spread spread(const std::vector<AblationRun>& runs, const Figure& figure) {
  Spread s{0, figure.of(runs.front()), figure.of(runs.front())};
  for (const AblationRun& r : runs) {
    const double value = figure.of(r);
    s.mean += value / static_cast<double>(runs.size());
    s.low = std::min(s.low, value);
    s.high = std::max(s.high, value);
  }
  return s;
}

double mean_minutes(const std::vector<AblationRun>& runs) {
  double sum = 0;
  for (const AblationRun& r : runs) sum += r.seconds / 60;
  return sum / static_cast<double>(runs.size());
}

std::vector<AblationRun> runs_of(const Rung& rung, const std::vector<AblationRun>& all) {
  std::vector<AblationRun> own;
  for (const AblationRun& r : all)
    if (r.rung == rung.key) own.push_back(r);
  return own;
}

nlohmann::json to_json(const Rung& rung, const std::vector<AblationRun>& runs) {
  nlohmann::json j = {
      {"rung", rung.key}, {"title", rung.title}, {"train_args", to_json(rung.options)}};
  for (const char* key : {"output", "seed", "threads"}) j["train_args"].erase(key);
  for (const Figure& f : kFigures) {
    const Spread s = spread(runs, f);
    j[f.key] = {{"mean", s.mean}, {"low", s.low}, {"high", s.high}};
  }
  for (const AblationRun& r : runs) {
    nlohmann::json one = {{"seed", r.seed},
                          {"fold", r.fold},
                          {"threshold", r.test.threshold},
                          {"balanced_accuracy", r.test.balanced_accuracy},
                          {"best_epoch", r.best_epoch},
                          {"seconds", r.seconds}};
    for (const Figure& f : kFigures) one[f.key] = f.of(r);
    j["runs"].push_back(one);
  }
  return j;
}

std::string csv(const std::vector<AblationRun>& runs) {
  std::string text =
      "rung,seed,fold,accuracy,accuracy_at_half,balanced_accuracy,roc_auc,threshold,best_epoch,"
      "seconds\n";
  for (const AblationRun& r : runs)
    text += fmt::format("{},{},{},{},{},{},{},{},{},{:.1f}\n", r.rung, r.seed, r.fold,
                        r.test.accuracy, r.accuracy_at_half, r.test.balanced_accuracy,
                        r.test.roc_auc, r.test.threshold, r.best_epoch, r.seconds);
  return text;
}

std::string chart(const std::vector<Rung>& ladder, const std::vector<AblationRun>& runs) {
  report::BarChart chart;
  chart.title = "Test figures by recipe: mean and range over runs";
  chart.axis.low = 0.5;  // chance
  chart.axis.high = 1;
  for (const Rung& rung : ladder) {
    const std::vector<AblationRun> own = runs_of(rung, runs);
    if (own.empty()) continue;
    for (const std::size_t i : kDrawn) {
      const Spread s = spread(own, kFigures[i]);
      chart.bars.push_back({fmt::format("{}, {}", rung.title, kFigures[i].title), s.mean, s.low,
                            s.high, i == 0 ? report::Ink::A : report::Ink::B});
    }
  }
  return report::svg_file(report::svg(chart));
}

struct Mean {
  double mean = 0, error = 0;  // and its standard error
};

Mean mean_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Mean m;
  for (double v : values) m.mean += v / n;
  double squares = 0;
  for (double v : values) squares += (v - m.mean) * (v - m.mean);
  m.error = std::sqrt(squares / (n - 1) / n);
  return m;
}

// The seeds of a fold are measured on the same pictures and are not independent: only the means of
// the folds are taken to be.
using ByFold = std::map<int, std::vector<double>>;
std::vector<double> fold_means(const ByFold& all) {
  std::vector<double> means;
  for (const auto& [fold, values] : all) means.push_back(mean_of(values).mean);
  return means;
}

std::vector<double> values(const std::vector<AblationRun>& runs, const Figure& figure) {
  ByFold all;
  for (const AblationRun& run : runs) all[run.fold].push_back(figure.of(run));
  return fold_means(all);
}

// From the runs that the other rung has with the same seed and fold.
std::vector<double> differences(const std::vector<AblationRun>& from,
                                const std::vector<AblationRun>& to, const Figure& figure) {
  ByFold all;
  for (const AblationRun& a : from)
    for (const AblationRun& b : to)
      if (a.seed == b.seed && a.fold == b.fold) all[a.fold].push_back(figure.of(b) - figure.of(a));
  return fold_means(all);
}

// "+0.0123 +- 0.0045"
std::string with_error(const std::vector<double>& values, bool sign) {
  if (values.size() < 2) return "-";
  const Mean m = mean_of(values);
  return fmt::format("{} +- {:.4f}", fmt::format(fmt::runtime(sign ? "{:+.4f}" : "{:.4f}"), m.mean),
                     m.error);
}

// Means with standard errors over the folds, and the paired differences from the ladder's first
// rung.
std::string error_table(const std::vector<Rung>& ladder, const std::vector<AblationRun>& runs) {
  const std::vector<AblationRun> first = runs_of(ladder.front(), runs);
  std::string text =
      "\n| recipe | ROC-AUC | from the first | accuracy | from the first "
      "|\n|---|---|---|---|---|\n";
  for (const Rung& rung : ladder) {
    const std::vector<AblationRun> own = runs_of(rung, runs);
    if (values(own, kFigures[0]).size() < 2) continue;
    text += fmt::format("| {} |", rung.title);
    for (const std::size_t i : {2, 0}) {
      text += fmt::format(" {} | {} |", with_error(values(own, kFigures[i]), false),
                          rung.key == ladder.front().key
                              ? "-"
                              : with_error(differences(first, own, kFigures[i]), true));
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::string ablation_table(const std::vector<Rung>& ladder, const std::vector<AblationRun>& runs) {
  std::string text = "| recipe | runs |";
  for (const Figure& f : kFigures) text += fmt::format(" {} |", f.title);
  text += " minutes per run |\n|---|---|---|---|---|---|\n";
  for (const Rung& rung : ladder) {
    const std::vector<AblationRun> own = runs_of(rung, runs);
    if (own.empty()) continue;
    text += fmt::format("| {} | {} |", rung.title, own.size());
    for (const Figure& f : kFigures) {
      const Spread s = spread(own, f);
      text += fmt::format(" {:.3f} ({:.3f} to {:.3f}) |", s.mean, s.low, s.high);
    }
    text += fmt::format(" {:.1f} |\n", mean_minutes(own));
  }
  const bool folded = std::ranges::any_of(runs, [](const AblationRun& r) { return r.fold > 0; });
  return folded ? text + error_table(ladder, runs) : text;
}

void write_ablation(const std::filesystem::path& folder, const std::vector<Rung>& ladder,
                    const std::vector<AblationRun>& runs) {
  nlohmann::json rungs = nlohmann::json::array();
  for (const Rung& rung : ladder)
    if (const auto own = runs_of(rung, runs); !own.empty()) rungs.push_back(to_json(rung, own));
  write_text(folder / "ablation.md", ablation_table(ladder, runs));
  write_text(folder / "ablation.csv", csv(runs));
  write_text(folder / "ablation.json",
             rungs.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  write_text(folder / "ablation.svg", chart(ladder, runs));
}

}  // namespace dfengine
