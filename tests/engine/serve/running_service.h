// A service that listens on a free port, with small models and pictures, for the tests of
// engine/serve.
#pragma once

#include <optional>
#include <thread>

#include "engine/serve/http/service.h"
#include "tests/engine/interface/interface_support.h"

namespace dfengine::test {

class RunningService : public Interface {
 protected:
  using Json = nlohmann::json;

  void SetUp() override {
    Interface::SetUp();
    for (const std::string& file : files_) bytes_.push_back(weights::read_text(file));
    expected_ = expected_probabilities();
    options_.http.port = 0;
  }
  void TearDown() override { stop(); }

  // Starts it with what the fields below say.
  void start() {
    if (served_.empty()) served_ = {{"faces", model_}};
    scorer_.emplace(scoring_, metrics_);
    models_.emplace(served_, *scorer_);
    std::function<void(const std::string&)> log;
    if (logged_)
      log = [this](const std::string& line) {
        const std::lock_guard lock(mutex_);
        log_.push_back(line);
      };
    service_.emplace(options_, *scorer_, *models_, metrics_, log);
    thread_ = std::thread([this] { service_->run(); });
  }
  void stop() {
    if (!thread_.joinable()) return;
    service_->drain();
    thread_.join();
  }
  httplib::Client client() const {
    httplib::Client client("127.0.0.1", service_->port());
    client.set_read_timeout(60);
    client.set_keep_alive(true);
    return client;
  }
  std::vector<std::string> log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  double metric(const std::string& line_start) const {
    const std::string text = "\n" + metrics_.text(0);
    const std::size_t at = text.find("\n" + line_start + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + line_start.size() + 2));
  }

  std::vector<serve::ModelFile> served_;
  serve::ScorerOptions scoring_ = {.threads = 2, .max_batch = 4};
  serve::ServiceOptions options_;
  bool logged_ = true;
  std::vector<std::string> bytes_;
  std::vector<double> expected_;
  serve::Metrics metrics_;
  std::optional<serve::Scorer> scorer_;
  std::optional<serve::Models> models_;
  std::optional<serve::Service> service_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<std::string> log_;
};

}  // namespace dfengine::test
