#include "engine/evaluate/metrics/summary.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace dfengine {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Confusion, tn, fp, fn, tp)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ClassReport::Row, precision, recall, f1, support)

namespace {

using nlohmann::json;

double share(Index part, Index whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

json normalized(const Confusion& c) {
  return {{"tn", share(c.tn, c.tn + c.fp)},
          {"fp", share(c.fp, c.tn + c.fp)},
          {"fn", share(c.fn, c.fn + c.tp)},
          {"tp", share(c.tp, c.fn + c.tp)}};
}

// A name in a column of `width` characters.
std::string clipped(const std::string& name, std::size_t width) {
  return name.size() <= width ? name : name.substr(0, width);
}

std::string figures_text(const Summary& at, const Summary& half) {
  const bool two = at.metrics.threshold != half.metrics.threshold;
  std::string text = fmt::format("{:18}", "");
  const auto column = [&](double threshold) {
    text += fmt::format("  {:24}", fmt::format("threshold {:.4f}", threshold));
  };
  column(at.metrics.threshold);
  if (two) column(half.metrics.threshold);
  text.erase(text.find_last_not_of(' ') + 1);
  text += "\n";
  bool heading = true;
  const auto fields = metric_fields();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!fields[i].at_threshold && heading) {
      text += fmt::format("{:18}  any threshold\n", "");
      heading = false;
    }
    const auto cell = [&](const Summary& s) {
      text += fmt::format("  {:24}", with_interval(s.metrics.*fields[i].value, s.intervals[i]));
    };
    text += fmt::format("{:18}", fields[i].title);
    cell(at);
    if (two && fields[i].at_threshold) cell(half);
    text.erase(text.find_last_not_of(' ') + 1);
    text += "\n";
  }
  return text;
}

std::string classes_text(const ClassReport& report, const std::array<std::string, 2>& classes) {
  std::string text = fmt::format("{:18}  precision  recall      F1  pictures\n", "class");
  const auto line = [&](const std::string& name, const ClassReport::Row& r) {
    text += fmt::format("{:18}  {:9.4f}  {:.4f}  {:.4f}  {:8}\n", clipped(name, 18), r.precision,
                        r.recall, r.f1, r.support);
  };
  line(classes[0], report.by_label[0]);
  line(classes[1], report.by_label[1]);
  line("mean", report.macro);
  line("weighted mean", report.weighted);
  return text;
}

std::string confusion_text(const Confusion& c, const std::array<std::string, 2>& classes) {
  std::string text = fmt::format("{:18}  {:>18}  {:>18}\n", "", "called " + clipped(classes[0], 11),
                                 "called " + clipped(classes[1], 11));
  const auto line = [&](const std::string& name, Index a, Index b) {
    const auto cell = [&](Index n) {
      return fmt::format("{} ({:.1f} %)", n, 100 * share(n, a + b));
    };
    text += fmt::format("{:18}  {:>18}  {:>18}\n", clipped(name, 18), cell(a), cell(b));
  };
  line(classes[0], c.tn, c.fp);
  line(classes[1], c.fn, c.tp);
  return text;
}

}  // namespace

Summary summarize(const Scores& scores, std::span<const int> label, double threshold,
                  std::uint64_t seed, Index resamples) {
  Summary s;
  s.metrics = compute_metrics(scores, label, threshold);
  s.intervals = metric_intervals(scores, label, threshold, seed, resamples);
  s.report = class_report(s.metrics.confusion);
  return s;
}

json to_json(const Summary& s, const std::array<std::string, 2>& classes) {
  const Metrics& m = s.metrics;
  json j = {{"n", m.n},
            {"threshold", m.threshold},
            {"confusion", m.confusion},
            {"confusion_normalized", normalized(m.confusion)},
            {"per_class",
             {{classes[0], s.report.by_label[0]},
              {classes[1], s.report.by_label[1]},
              {"macro", s.report.macro},
              {"weighted", s.report.weighted}}}};
  const auto fields = metric_fields();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    j[fields[i].key] = m.*fields[i].value;
    j["intervals"][fields[i].key] = {s.intervals[i].low, s.intervals[i].high};
  }
  return j;
}

std::string with_interval(double value, const Interval& interval) {
  if (std::isnan(value)) return "-";
  if (std::isnan(interval.low)) return fmt::format("{:.4f} [no interval]", value);
  return fmt::format("{:.4f} [{:.4f}, {:.4f}]", value, interval.low, interval.high);
}

std::string to_text(const Summary& at, const Summary& half,
                    const std::array<std::string, 2>& classes) {
  return figures_text(at, half) +
         "(resampling adds noise to the calibration error: its interval lies high; no interval: "
         "every resample of the pictures gives the same, or a class is missing or never "
         "called)\n\n" +
         classes_text(at.report, classes) + "\n" + confusion_text(at.metrics.confusion, classes);
}

}  // namespace dfengine
