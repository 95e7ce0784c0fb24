#include "engine/serve/scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <iterator>
#include <new>
#include <system_error>

#include "engine/data/pictures/resize.h"

namespace dfengine::serve {
namespace {

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::size_t forms_of(Work work) {
  return work == Work::Stability ? at(kStabilityForms) : 1;
}

void tell(Picture& picture, const std::exception& e) noexcept {
  try {
    picture.error = e.what();
  } catch (const std::bad_alloc&) {
    picture.error = "out of memory";  // a string's own bytes hold so much
    picture.failed = true;
  }
}

// Of a running mean.
constexpr double kNewest = 0.1;

}  // namespace

Scorer::Scorer(const ScorerOptions& options, Metrics& metrics)
    : options_(options),
      metrics_(metrics),
      pool_(options.threads),
      backend_(open_backend(options.device, options.config, pool_)),
      cpu_(pool_) {
  try {
    threads_.emplace_back([this] { compute_loop(); });
    for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { decode_loop(); });
  } catch (const std::system_error& e) {
    stop();
    throw Error(
        fmt::format("cannot start {} threads that decode, and one that computes: {}; try "
                    "fewer --threads",
                    options.threads, e.what()));
  } catch (...) {
    stop();
    throw;
  }
}

Scorer::~Scorer() {
  stop();
}

void Scorer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  batch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Scorer::admit(const std::shared_ptr<Ticket>& ticket) {
  Items items;
  for (std::size_t i = 0; i < ticket->pictures.size(); ++i) items.push_back({ticket, i});
  {
    const std::lock_guard lock(mutex_);
    if (admitted_ + ticket->pictures.size() > options_.max_waiting) return false;
    admitted_ += ticket->pictures.size();
    undecoded_.splice(undecoded_.end(), items);
  }
  work_.notify_all();
  return true;
}

std::size_t Scorer::waiting() const {
  const std::lock_guard lock(mutex_);
  return admitted_;
}

double Scorer::rate() const {
  const std::lock_guard lock(mutex_);
  return rate_;
}

std::shared_ptr<ServedModel> Scorer::make_ready(std::string name, Model model) {
  std::promise<std::shared_ptr<ServedModel>> made;
  {
    const std::lock_guard lock(mutex_);
    errands_.push_back([&] {
      try {
        const Backend& backend = backend_for(model);
        made.set_value(std::make_shared<ServedModel>(std::move(name), std::move(model), backend,
                                                     options_.max_batch));
      } catch (...) {
        made.set_exception(std::current_exception());
      }
    });
  }
  batch_.notify_all();
  return made.get_future().get();
}

const Backend& Scorer::backend_for(const Model& model) const {
  if (backend_->kind() == DeviceKind::Cuda && !model.config.quantization.empty()) return cpu_;
  return *backend_;
}

void Scorer::decode_loop() {
  ImageDecoder decoder(options_.max_pixels);
  std::map<ResizeRule, Resizer> resizers;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return !undecoded_.empty() || stop_; });
    if (undecoded_.empty()) return;
    Items one;
    one.splice(one.end(), undecoded_, undecoded_.begin());
    Item& item = one.front();
    lock.unlock();
    if (!item.ticket->abandoned) decode(item, decoder, resizers);
    item.ready = Clock::now();
    const bool unreadable = item.picture().square.empty();
    if (unreadable) finish(one);
    lock.lock();
    if (!unreadable) decoded_.splice(decoded_.end(), one);
    batch_.notify_all();
  }
}

// An unreadable picture has its error, and no square.
void Scorer::decode(const Item& item, ImageDecoder& decoder,
                    std::map<ResizeRule, Resizer>& resizers) {
  Picture& picture = item.picture();
  const Model& model = item.ticket->model->model;
  const Index size = model.config.input_size;
  const auto begin = Clock::now();
  try {
    const std::string name = picture.name.empty() ? "without a name" : picture.name;
    const Image& image = decoder.decode(std::as_bytes(std::span(picture.bytes)), name);
    const std::size_t bytes = at(size * size * 3), forms = forms_of(item.ticket->work);
    picture.square.resize(forms * bytes);
    Resizer& resizer = resizers.try_emplace(model.resize, model.resize).first->second;
    const auto prepare = [&](const Image& one, std::size_t form) {
      prepare_image(one, model.crop, size, resizer, picture.square.data() + form * bytes);
    };
    if (forms == 1) {
      prepare(image, 0);
    } else {
      PerturbScratch scratch;
      const std::vector<Image> changed = stability_forms(image, scratch);
      for (std::size_t i = 0; i < forms; ++i) prepare(changed[i], i);
    }
  } catch (const DataError& e) {
    tell(picture, e);
  } catch (const std::exception& e) {
    tell(picture, e);
    picture.failed = true;
  }
  if (!picture.error.empty()) picture.square.clear();
  picture.decode_seconds = seconds_between(begin, Clock::now());
  metrics_.picture(picture.error.empty(), picture.decode_seconds);
}

// How many pictures from the front on go through one network together.
std::size_t Scorer::alike() const {
  const Item& first = decoded_.front();
  if (first.ticket->work == Work::Explain) return 1;
  const auto other = std::ranges::find_if(decoded_, [&](const Item& item) {
    return item.ticket->model != first.ticket->model || item.ticket->work != first.ticket->work;
  });
  return static_cast<std::size_t>(std::distance(decoded_.begin(), other));
}

// Waits no longer than the first picture may, and not for pictures that nobody has sent.
Scorer::Items Scorer::next_batch(std::unique_lock<std::mutex>& lock) {
  const std::size_t forms = forms_of(decoded_.front().ticket->work);
  const auto most = std::max(at(options_.max_batch) / forms, std::size_t{1});
  const auto until = decoded_.front().ready + options_.max_delay;
  const auto complete = [&] {
    return alike() >= most || alike() < decoded_.size() || decoded_.size() == admitted_ ||
           decoded_.front().ticket->work == Work::Explain || !errands_.empty();
  };
  batch_.wait_until(lock, until, complete);
  const auto count = static_cast<std::ptrdiff_t>(std::min(alike(), most));
  Items batch;
  batch.splice(batch.end(), decoded_, decoded_.begin(), std::next(decoded_.begin(), count));
  return batch;
}

void Scorer::compute_loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    batch_.wait(
        lock, [&] { return !decoded_.empty() || !errands_.empty() || (stop_ && admitted_ == 0); });
    if (!errands_.empty()) {
      const auto errand = std::move(errands_.front());
      errands_.pop_front();
      lock.unlock();
      errand();
    } else if (!decoded_.empty()) {
      const Items batch = next_batch(lock);
      lock.unlock();
      compute(batch);
      finish(batch);
    } else {
      return;
    }
    lock.lock();
  }
}

void Scorer::compute(const Items& batch) {
  const auto begin = Clock::now();
  for (const Item& item : batch)
    metrics_.queued(std::max(
        0.0, seconds_between(item.ticket->admitted, begin) - item.picture().decode_seconds));
  try {
    if (batch.front().ticket->work == Work::Explain) {
      explain(batch.front());
    } else {
      classify(batch);
    }
  } catch (const std::exception& e) {
    for (const Item& item : batch) {
      item.picture().prob.reset();
      tell(item.picture(), e);
      item.picture().failed = true;
    }
  }
  const double seconds = seconds_between(begin, Clock::now());
  metrics_.batch(batch.size(), seconds);
  const std::lock_guard lock(mutex_);
  const double now = static_cast<double>(batch.size()) / std::max(seconds, 1e-9);
  rate_ = rate_ == 0 ? now : (1 - kNewest) * rate_ + kNewest * now;
}

void Scorer::classify(const Items& batch) {
  const Item& first = batch.front();
  ServedModel& model = *first.ticket->model;
  const std::size_t forms = forms_of(first.ticket->work);
  squares_.clear();
  for (const Item& item : batch)
    squares_.insert(squares_.end(), item.picture().square.begin(), item.picture().square.end());
  std::vector<float> logits(batch.size() * forms);
  model.predictor.run(squares_.data(), std::ssize(logits), logits.data());
  std::span<const float> left(logits);
  for (const Item& item : batch) {
    if (forms > 1) item.picture().stability = stability_of(left.first(forms), model.model);
    answer(item, left[0]);
    left = left.subspan(forms);
  }
}

void Scorer::explain(const Item& item) {
  ServedModel& model = *item.ticket->model;
  if (!model.cam) model.cam.emplace(model.model, cpu_);
  const GradCamRun run = model.cam->run(item.picture().square.data());
  answer(item, run.logit);
  const bool fake = *item.picture().prob >= model.model.threshold;
  item.picture().map = run.evidence(fake ? Evidence::Fake : Evidence::Real);
}

void Scorer::answer(const Item& item, double logit) {
  const Model& model = item.ticket->model->model;
  const double prob = model.probability(logit);
  require_number(item.ticket->model->name, prob);
  Picture& picture = item.picture();
  picture.prob = prob;
  picture.unsure = model.is_unsure(prob) || (picture.stability && picture.stability->flips);
  metrics_.verdict(item.ticket->model->name, picture.unsure ? kUnsure : model.verdict(prob));
}

// A ticket's holder may read it as soon as its last picture is finished.
void Scorer::finish(const Items& items) {
  {
    const std::lock_guard lock(mutex_);
    admitted_ -= items.size();
  }
  for (const Item& item : items) item.ticket->finish_one();
  batch_.notify_all();
}

}  // namespace dfengine::serve
