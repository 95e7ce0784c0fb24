// Decodes pictures on threads of its own and runs them through their models in batches that form
// while requests come in.
#pragma once

#include <exception>
#include <functional>
#include <list>
#include <map>
#include <thread>

#include "engine/runtime/open_backend.h"
#include "engine/serve/metrics.h"
#include "engine/serve/ticket.h"

namespace dfengine::serve {

struct ScorerOptions {
  int threads = 1;  // that decode, and that compute
  DeviceKind device = DeviceKind::Cpu;
  DeviceConfig config = {};
  Index max_batch = 32;
  std::chrono::microseconds max_delay{2000};  // that a picture waits for others of its batch
  std::size_t max_waiting = 256;              // pictures
  Index max_pixels = kMaxImagePixels;
};

// One thread computes, for all models; any thread may call what is public.
class Scorer {
 public:
  // metrics must outlive it. Throws DeviceError where there is no such device, Error where the
  // system has too few threads.
  Scorer(const ScorerOptions& options, Metrics& metrics);
  // Answers what was admitted first.
  ~Scorer();
  Scorer(const Scorer&) = delete;
  Scorer& operator=(const Scorer&) = delete;

  const ScorerOptions& options() const { return options_; }
  // Takes a ticket's pictures, whose answers come while its holder waits. False where that would be
  // more than may wait: nothing was taken.
  bool admit(const std::shared_ptr<Ticket>& ticket);
  std::size_t waiting() const;
  // Pictures a second, by the last batches; 0 before the first.
  double rate() const;
  // A model made ready between two batches; a quantized one for the CPU in place of a GPU. What
  // making it throws comes out here.
  std::shared_ptr<ServedModel> make_ready(std::string name, Model model);

 private:
  struct Item {
    std::shared_ptr<Ticket> ticket;
    std::size_t place = 0;
    Clock::time_point ready = {};
    Picture& picture() const { return ticket->pictures[place]; }
  };
  // A list: it goes from one to the next without memory, which may have ended.
  using Items = std::list<Item>;

  void stop();
  const Backend& backend_for(const Model& model) const;
  void decode_loop();
  void decode(const Item& item, ImageDecoder& decoder, std::map<ResizeRule, Resizer>& resizers);
  void compute_loop();
  Items next_batch(std::unique_lock<std::mutex>& lock);
  std::size_t alike() const;
  void compute(const Items& batch);
  void classify(const Items& batch);
  void explain(const Item& item);
  void answer(const Item& item, double logit);
  void finish(const Items& items);

  const ScorerOptions options_;
  Metrics& metrics_;
  ThreadPool pool_;  // of the computing thread
  const std::unique_ptr<Backend> backend_;
  const CpuBackend cpu_;  // computes heat maps, and quantized models where backend_ cannot

  mutable std::mutex mutex_;
  std::condition_variable work_, batch_;
  Items undecoded_, decoded_;
  std::deque<std::function<void()>> errands_;  // for the computing thread
  std::size_t admitted_ = 0;
  double rate_ = 0;
  bool stop_ = false;
  std::vector<std::uint8_t> squares_;
  std::vector<std::thread> threads_;
};

}  // namespace dfengine::serve
