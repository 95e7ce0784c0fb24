#include "engine/serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace dfengine::serve {
namespace {

// Of a label's value, as the text format has it.
std::string quoted(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return text + "\"";
}

std::string head(const std::string& name, const char* type, const std::string& help) {
  return fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

template <class Counts>
std::string counter(const std::string& name, const std::string& help, const char* first,
                    const char* second, const Counts& counts) {
  std::string text = head(name, "counter", help);
  for (const auto& [labels, count] : counts)
    text += fmt::format("{}{{{}={},{}={}}} {}\n", name, first, quoted(labels.first), second,
                        quoted(labels.second), count);
  return text;
}

}  // namespace

const std::vector<double> Metrics::kSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                               0.25,  0.5,    1,     2.5,  5,     10,   30};

void Histogram::observe(double value) {
  const auto place = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  ++counts_[static_cast<std::size_t>(place)];
  sum_ += value;
}

std::string Histogram::text(const std::string& name, const std::string& help) const {
  std::string text = head(name, "histogram", help);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    total += counts_[i];
    text += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], total);
  }
  total += counts_.back();
  text +=
      fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, total, sum_);
  return text;
}

void Metrics::request(const std::string& route, int code, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{route, std::to_string(code)}];
  request_seconds_.observe(seconds);
}

void Metrics::picture(bool readable, double decode_seconds) {
  const std::lock_guard lock(mutex_);
  ++(readable ? readable_ : unreadable_);
  decode_seconds_.observe(decode_seconds);
}

void Metrics::batch(std::size_t pictures, double compute_seconds) {
  const std::lock_guard lock(mutex_);
  batch_pictures_.observe(static_cast<double>(pictures));
  compute_seconds_.observe(compute_seconds);
}

void Metrics::queued(double seconds) {
  const std::lock_guard lock(mutex_);
  queue_seconds_.observe(seconds);
}

void Metrics::verdict(const std::string& model, const std::string& verdict) {
  const std::lock_guard lock(mutex_);
  ++verdicts_[{model, verdict}];
}

void Metrics::reload(bool worked) {
  const std::lock_guard lock(mutex_);
  ++(worked ? reloads_ : failed_reloads_);
}

std::string Metrics::text(std::size_t waiting) const {
  const std::lock_guard lock(mutex_);
  std::string text =
      counter("dfengine_requests_total", "Requests answered.", "route", "code", requests_);
  text += head("dfengine_pictures_total", "counter", "Pictures decoded, or that could not be.");
  text += fmt::format(
      "dfengine_pictures_total{{result=\"readable\"}} {}\n"
      "dfengine_pictures_total{{result=\"unreadable\"}} {}\n",
      readable_, unreadable_);
  text += counter("dfengine_verdicts_total", "Pictures by what was said of them.", "model",
                  "verdict", verdicts_);
  text +=
      head("dfengine_reloads_total", "counter", "Model files loaded anew, or that could not be.");
  text += fmt::format(
      "dfengine_reloads_total{{result=\"loaded\"}} {}\ndfengine_reloads_total{{result=\"failed\"}} "
      "{}\n",
      reloads_, failed_reloads_);
  text += head("dfengine_waiting_pictures", "gauge", "Pictures admitted and not yet answered.");
  text += fmt::format("dfengine_waiting_pictures {}\n", waiting);
  text += request_seconds_.text("dfengine_request_seconds",
                                "From the end of the headers to the answer.");
  text += decode_seconds_.text("dfengine_decode_seconds", "Decoding and resizing one picture.");
  text += queue_seconds_.text("dfengine_queue_seconds",
                              "From admission to the batch, decoding left out.");
  text += compute_seconds_.text("dfengine_compute_seconds", "The network, a batch.");
  return text + batch_pictures_.text("dfengine_batch_pictures", "Pictures a batch.");
}

}  // namespace dfengine::serve
