// The pictures of one request on their way through the service, and their answers.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/evaluate/grad_cam.h"
#include "engine/evaluate/stability.h"
#include "engine/model/predictor.h"

namespace dfengine::serve {

using Clock = std::chrono::steady_clock;

// A model as the computing thread runs it. model stays as it is.
struct ServedModel {
  ServedModel(std::string name_, Model model_, const Backend& backend, Index batch)
      : name(std::move(name_)),
        model(std::move(model_)),
        predictor(model, backend, Predictor::Output::Logits) {
    predictor.reserve(batch);
  }
  std::string name;
  const Model model;
  Predictor predictor;
  std::optional<GradCam> cam;  // made for the first heat map
};

enum class Work { Classify, Stability, Explain };

struct Picture {
  // What came in.
  std::string name = {};  // that the client gave it, or ""
  std::string bytes = {};

  // What the decoder makes of it.
  std::vector<std::uint8_t> square = {};  // of Work::Stability one after the other of its forms
  double decode_seconds = 0;

  // The answer: one of prob and error.
  std::optional<double> prob = {};
  bool unsure = false;  // too near the threshold, or not stable
  std::string error = {};
  bool failed = false;                      // the service, not the picture
  EvidenceMap map = {};                     // of Work::Explain, for what the model called it
  std::optional<Stability> stability = {};  // of Work::Stability
};

class Ticket {
 public:
  Ticket(std::shared_ptr<ServedModel> of, Work work_, std::vector<Picture> all,
         Clock::time_point until)
      : model(std::move(of)),
        work(work_),
        pictures(std::move(all)),
        deadline(until),
        admitted(Clock::now()),
        pending_(pictures.size()) {}

  // Waits until all pictures have their answers. False where the deadline comes first: what is not
  // begun is then left out, and `pictures` must not be read.
  bool wait() {
    std::unique_lock lock(mutex_);
    const bool done = done_.wait_until(lock, deadline, [&] { return pending_ == 0; });
    abandoned = !done;
    return done;
  }
  // One more picture has its answer.
  void finish_one() {
    const std::lock_guard lock(mutex_);
    if (--pending_ == 0) done_.notify_all();
  }

  const std::shared_ptr<ServedModel> model;
  const Work work;
  std::vector<Picture> pictures;  // each is touched by one thread at a time
  const Clock::time_point deadline, admitted;
  std::atomic<bool> abandoned{false};

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  std::size_t pending_;
};

}  // namespace dfengine::serve
