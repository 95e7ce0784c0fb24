#include "engine/data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "engine/data/resize.h"
#include "kernels/error.h"

namespace dfengine {
namespace {

LoaderOptions checked(const LoaderOptions& options) {
  if (options.batch < 1 || options.size < 1 || options.threads < 1) {
    throw UsageError(fmt::format("loader: batch {}, size {} and threads {} must be at least 1",
                                 options.batch, options.size, options.threads));
  }
  return options;
}

}  // namespace

Loader::Loader(const Dataset& dataset, LoaderOptions options)
    : dataset_(dataset),
      options_(checked(options)),
      sample_bytes_(view_count(options.views) * options.size * options.size * 3),
      batches_((std::ssize(dataset.samples) + options.batch - 1) / options.batch),
      slots_(kAhead) {
  const std::size_t total = dataset.samples.size() * static_cast<std::size_t>(sample_bytes_);
  if (total <= options_.cache_bytes) {
    // Left untouched: pages are taken as samples arrive.
    cache_ = std::make_unique_for_overwrite<std::uint8_t[]>(total);
    cached_.resize(dataset.samples.size());
  }
  try {
    for (int i = 0; i < options_.threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& e) {
    stop_workers();
    throw UsageError(fmt::format("loader: cannot start {} threads ({}); ask for fewer",
                                 options_.threads, e.what()));
  }
}

Loader::~Loader() {
  stop_workers();
}

void Loader::stop_workers() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_ready_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Loader::start(std::uint64_t epoch, Index first_batch) {
  if (first_batch < 0 || first_batch > batches_) {
    throw UsageError(
        fmt::format("loader: batch {} of an epoch that has {}", first_batch, batches_));
  }
  std::vector<std::uint32_t> order =
      epoch_order(std::ssize(dataset_.samples), options_.seed, epoch, options_.shuffle);
  std::unique_lock lock(mutex_);
  end_ = 0;  // nothing more to claim, so the workers come to rest
  batch_ready_.wait(lock, [this] { return busy_ == 0; });
  order_ = std::move(order);
  epoch_ = epoch;
  taken_ = first_batch;
  claimed_ = first_batch * options_.batch;
  end_ = std::ssize(order_);
  for (Index b = taken_; b < std::min(taken_ + kAhead, batches_); ++b) prepare_slot(b);
  work_ready_.notify_all();
}

// Makes room for a batch before its pictures may be claimed, so that workers never allocate.
void Loader::prepare_slot(Index batch) {
  const Index first = batch * options_.batch;
  const Index n = std::min(options_.batch, std::ssize(order_) - first);
  Slot& s = slot(batch);
  s.error = nullptr;
  s.missing = n;
  s.batch.n = n;
  s.batch.images.resize(static_cast<std::size_t>(n * sample_bytes_));
  s.batch.targets.resize(static_cast<std::size_t>(n));
  s.batch.indices.assign(order_.begin() + first, order_.begin() + first + n);
  for (std::size_t i = 0; i < s.batch.indices.size(); ++i) {
    s.batch.targets[i] = static_cast<float>(dataset_.samples[s.batch.indices[i]].label);
  }
}

bool Loader::next(Batch& batch) {
  std::unique_lock lock(mutex_);
  if (taken_ * options_.batch >= end_) return false;
  Slot& s = slot(taken_);
  batch_ready_.wait(lock, [&s] { return s.missing == 0; });
  if (s.error) std::rethrow_exception(s.error);
  std::swap(s.batch, batch);
  if (taken_ + kAhead < batches_) prepare_slot(taken_ + kAhead);
  ++taken_;
  work_ready_.notify_all();
  return true;
}

void Loader::work() {
  Resizer resizer;
  std::unique_lock lock(mutex_);
  while (true) {
    work_ready_.wait(lock, [this] { return stop_ || can_claim(); });
    if (stop_) return;
    const Index position = claimed_++;
    const Index place = position % options_.batch;
    const std::uint32_t index = order_[static_cast<std::size_t>(position)];
    const std::uint64_t epoch = epoch_;
    Slot& s = slot(position / options_.batch);
    std::uint8_t* out = s.batch.images.data() + place * sample_bytes_;
    ++busy_;
    lock.unlock();
    std::exception_ptr error;
    try {
      make_sample(index, epoch, resizer, out);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --busy_;
    // The first in order, not in time: errors too are the same whatever the thread count.
    if (error && (!s.error || place < s.error_at)) {
      s.error = error;
      s.error_at = place;
    }
    if (--s.missing == 0 || busy_ == 0) batch_ready_.notify_all();
  }
}

void Loader::make_sample(std::uint32_t index, std::uint64_t epoch, Resizer& resizer,
                         std::uint8_t* out) {
  const auto bytes = static_cast<std::size_t>(sample_bytes_);
  if (cache_ && cached_[index]) {
    std::memcpy(out, cache_.get() + index * bytes, bytes);
  } else {
    Image image = decode_image(dataset_.path(dataset_.samples[index]));
    if (options_.change) options_.change(image, index);
    prepare_views(image, options_.crop, options_.size, options_.views, resizer, out);
    if (cache_) {
      std::memcpy(cache_.get() + index * bytes, out, bytes);
      cached_[index] = 1;
    }
  }
  if (options_.hflip && flip_sample(options_.seed, epoch, index)) mirror(out, options_.size);
}

}  // namespace dfengine
