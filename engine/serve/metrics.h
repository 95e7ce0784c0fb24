// What the service counts, as Prometheus reads it. README.md beside this file names every metric.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace dfengine::serve {

// How many observations were at most so large, for each of the bounds.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void observe(double value);
  // The lines of the text format.
  std::string text(const std::string& name, const std::string& help) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;  // the last: above all bounds
  double sum_ = 0;
};

// Any thread may call anything.
class Metrics {
 public:
  void request(const std::string& route, int code, double seconds);
  void picture(bool readable, double decode_seconds);
  void batch(std::size_t pictures, double compute_seconds);
  void queued(double seconds);
  void verdict(const std::string& model, const std::string& verdict);
  void reload(bool worked);

  // In the text format, version 0.0.4. waiting: pictures that are admitted and not answered.
  std::string text(std::size_t waiting) const;

 private:
  using Labels = std::pair<std::string, std::string>;
  mutable std::mutex mutex_;
  std::map<Labels, std::uint64_t> requests_, verdicts_;
  std::uint64_t readable_ = 0, unreadable_ = 0, reloads_ = 0, failed_reloads_ = 0;
  Histogram request_seconds_{kSeconds}, decode_seconds_{kSeconds}, queue_seconds_{kSeconds},
      compute_seconds_{kSeconds}, batch_pictures_{{1, 2, 4, 8, 16, 32, 64, 128, 256}};

  static const std::vector<double> kSeconds;
};

}  // namespace dfengine::serve
