#include "engine/report/training_charts.h"

#include <algorithm>
#include <cmath>
#include <system_error>

#include "engine/train/run_files.h"
#include "engine/train/schedule.h"
#include "kernels/base/atomic_file.h"

namespace dfengine::report {
namespace {

// Rows up to which each epoch gets its dot.
constexpr std::size_t kDotted = 30;

Series by_epoch(std::string name, const std::vector<EpochRow>& rows, double EpochRow::*value,
                Ink ink) {
  Series s{std::move(name), {}, {}, ink};
  for (const EpochRow& row : rows) {
    s.x.push_back(row.epoch);
    s.y.push_back(row.*value);
  }
  s.dots = rows.size() <= kDotted;
  return s;
}

struct Curve {
  const char *file, *title, *unit;
  double EpochRow::*train;  // may be null
  double EpochRow::*valid;
};
constexpr Curve kCurves[] = {
    {"loss", "Loss", "nats", &EpochRow::train_loss, &EpochRow::valid_loss},
    {"accuracy", "Accuracy at 0.5", "share of pictures", &EpochRow::train_accuracy,
     &EpochRow::valid_accuracy},
    {"auc", "ROC-AUC", "area under the curve", nullptr, &EpochRow::valid_auc},
};

Chart epoch_chart(std::string title, const char* unit) {
  Chart chart;
  chart.title = std::move(title);
  chart.x = {"epoch", {}, {}, true};
  chart.y.label = unit;
  return chart;
}

// Scales are powers of two.
NamedChart loss_scale_chart(const std::vector<EpochRow>& rows) {
  Chart chart = epoch_chart("Loss scale", "power of two");
  chart.series.push_back(by_epoch("", rows, &EpochRow::loss_scale, Ink::A));
  for (double& scale : chart.series.front().y) scale = std::log2(scale);
  return {"loss_scale", svg(chart)};
}

}  // namespace

std::vector<NamedChart> training_charts(const RunHistory& run) {
  std::vector<NamedChart> charts;
  for (const Curve& curve : kCurves) {
    Chart chart = epoch_chart(curve.title, curve.unit);
    if (curve.train != nullptr)
      chart.series.push_back(by_epoch("training", run.rows, curve.train, Ink::Muted));
    chart.series.push_back(by_epoch("validation", run.rows, curve.valid, Ink::A));
    if (const EpochRow* best = run.best())
      chart.rules = {{static_cast<double>(best->epoch), "epoch kept"}};
    charts.push_back({curve.file, svg(chart)});
  }
  if (std::ranges::any_of(run.rows, [](const EpochRow& row) { return row.loss_scale != 1; }))
    charts.push_back(loss_scale_chart(run.rows));
  return charts;
}

NamedChart learning_rate_chart(const TrainOptions& options, Index steps_per_epoch,
                               const std::vector<EpochRow>& rows) {
  Series s{"", {}, {}, Ink::A, Shape::Step};
  for (const EpochRow& row : rows) {
    const int epoch = row.epoch - 1;
    const double last = learning_rate(options, steps_per_epoch, epoch, steps_per_epoch - 1);
    const double factor = last > 0 ? row.lr / last : 1;
    constexpr Index kPoints = 50;  // an epoch
    const Index stride = std::max<Index>(1, steps_per_epoch / kPoints);
    for (Index step = 0; step < steps_per_epoch; step += stride) {
      s.x.push_back(epoch + static_cast<double>(step) / static_cast<double>(steps_per_epoch));
      s.y.push_back(factor * learning_rate(options, steps_per_epoch, epoch, step));
    }
  }
  if (!rows.empty()) {
    s.x.push_back(rows.back().epoch);
    s.y.push_back(rows.back().lr);
  }
  Chart chart = epoch_chart("Learning rate", "per step");
  chart.x.label = "epochs passed";
  chart.y.low = 0;
  chart.series.push_back(std::move(s));
  return {"learning_rate", svg(chart)};
}

std::vector<NamedChart> comparison_charts(const std::vector<RunHistory>& runs) {
  constexpr std::size_t kInks = 6;
  std::vector<NamedChart> charts;
  for (const Curve& curve : kCurves) {
    Chart chart = epoch_chart(std::string("Validation: ") + curve.title, curve.unit);
    for (std::size_t i = 0; i < runs.size(); ++i) {
      chart.series.push_back(by_epoch(runs[i].name, runs[i].rows, curve.valid, ink_of(i)));
      chart.series.back().dashed = i / kInks % 2 == 1;
    }
    charts.push_back({curve.file, svg(chart)});
  }
  return charts;
}

void write_charts(const std::filesystem::path& folder, const std::vector<NamedChart>& charts) {
  make_folder(folder);
  for (const NamedChart& chart : charts)
    write_text(folder / (chart.file + ".svg"), svg_file(chart.svg));
  // Matrices have their threshold in their names, and the last call's may have been another.
  const auto is_old_matrix = [&](const std::filesystem::path& file) {
    const std::string name = file.stem().string();
    return name.starts_with(kMatrix) && file.extension() == ".svg" &&
           std::ranges::find(charts, name, &NamedChart::file) == charts.end();
  };
  std::error_code stays;
  for (const auto& entry : std::filesystem::directory_iterator(folder, stays))
    if (is_old_matrix(entry.path())) std::filesystem::remove(entry.path(), stays);
}

std::vector<std::string> elements(const std::vector<NamedChart>& charts) {
  std::vector<std::string> svgs;
  for (const NamedChart& chart : charts) svgs.push_back(chart.svg);
  return svgs;
}

}  // namespace dfengine::report
