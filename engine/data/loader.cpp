#include "engine/data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "engine/data/augment/stability_forms.h"
#include "engine/data/pack.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

LoaderOptions checked(const LoaderOptions& options) {
  if (options.batch < 1 || options.size < 1 || options.threads < 1) {
    throw UsageError(fmt::format("loader: batch {}, size {} and threads {} must be at least 1",
                                 options.batch, options.size, options.threads));
  }
  if (options.first_slice < 0 || options.slice_count < 1 ||
      options.first_slice + options.slice_count > options.slices ||
      options.slices > options.batch) {
    throw UsageError(fmt::format("loader: slices {} to {} of {}, of batches of {}",
                                 options.first_slice, options.first_slice + options.slice_count,
                                 options.slices, options.batch));
  }
  options.augment.validate();
  return options;
}

std::string message_of(const std::exception_ptr& error) try {
  std::rethrow_exception(error);
} catch (const DataError& e) {
  return e.what();
}

}  // namespace

struct Loader::Tools {
  explicit Tools(const LoaderOptions& options) : preparer(options), augmenter(options.resize) {}
  Preparer preparer;
  Augmenter augmenter;
};

LoaderOptions one_pass(const Preparation& how, int threads, OnBad on_bad) {
  LoaderOptions options{how};
  options.threads = threads;
  options.on_bad = on_bad;
  options.cache_bytes = 0;
  return options;
}

Loader::Loader(const Dataset& dataset, const LoaderOptions& options)
    : dataset_(dataset),
      options_(checked(options)),
      sample_bytes_((options.stability ? kStabilityForms : 1) * view_count(options.views) *
                    options.size * options.size * 3),
      batches_(divide_up(std::ssize(dataset.samples), options.batch)),
      most_(slice_begin(options.batch, options.slices, options.first_slice + options.slice_count) -
            slice_begin(options.batch, options.slices, options.first_slice)),
      slots_(kAhead) {
  const std::size_t total = dataset.samples.size() * static_cast<std::size_t>(sample_bytes_);
  if (dataset.pack) {
    check_pack();
  } else if (!options_.new_windows && total <= options_.cache_bytes) {
    // Left untouched: pages are taken as samples arrive.
    cache_ = std::make_unique_for_overwrite<std::uint8_t[]>(total);
    cached_.resize(dataset.samples.size());
  }
  try {
    // Made here, where what fails is told to the caller.
    for (int i = 0; i < options_.threads; ++i)
      workers_.emplace_back([this, tools = std::make_unique<Tools>(options_)] { work(*tools); });
  } catch (const std::system_error& e) {
    stop_workers();
    throw UsageError(fmt::format("loader: cannot start {} threads ({}); ask for fewer",
                                 options_.threads, e.what()));
  } catch (...) {
    stop_workers();
    throw;
  }
}

void Loader::check_pack() const {
  if (options_.new_windows)
    throw UsageError(fmt::format(
        "--crop random: {} holds one square of each picture, and windows are cut from whole "
        "pictures: train from files, or with --crop none",
        dataset_.pack->file().string()));
  const Preparation& has = dataset_.pack->index().how;
  if (has.size == options_.size && has.crop == options_.crop && has.resize == options_.resize)
    return;
  const auto text = [](const Preparation& p) {
    return fmt::format("--img-size {} --resize {} --crop {}", p.size, name_of(p.resize),
                       name_of(p.crop));
  };
  throw DataError(fmt::format("{} was packed with {}, and {} is wanted: pack it again",
                              dataset_.pack->file().string(), text(has), text(options_)));
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
  std::vector<std::uint32_t> order = epoch_order(dataset_, options_.seed, epoch, options_.shuffle);
  std::unique_lock lock(mutex_);
  started_ = false;
  end_ = 0;  // nothing more to claim, so the workers come to rest
  batch_ready_.wait(lock, [this] { return busy_ == 0; });
  order_ = std::move(order);
  epoch_ = epoch;
  taken_ = first_batch;
  claimed_ = first_batch * most_;
  for (Index b = taken_; b < std::min(taken_ + kAhead, batches_); ++b) prepare_slot(b);
  started_ = true;
  // All but an epoch's last batch are whole. Set last: there is a slot for what may be claimed.
  end_ = batches_ == 0 ? 0
                       : (batches_ - 1) * most_ + part_end(batches_ - 1) - part_begin(batches_ - 1);
  work_ready_.notify_all();
}

Index Loader::size_of(Index batch) const {
  return std::min(options_.batch, std::ssize(dataset_.samples) - batch * options_.batch);
}

Index Loader::part_begin(Index batch) const {
  return slice_begin(size_of(batch), options_.slices, options_.first_slice);
}

Index Loader::part_end(Index batch) const {
  return slice_begin(size_of(batch), options_.slices, options_.first_slice + options_.slice_count);
}

// Makes room for a batch before its pictures may be claimed: what a worker does under the lock
// allocates nothing.
void Loader::prepare_slot(Index batch) {
  const Index first = batch * options_.batch + part_begin(batch);
  const Index n = part_end(batch) - part_begin(batch);
  Slot& s = slot(batch);
  s.error = nullptr;
  s.unreadable.clear();
  s.unreadable.reserve(at(n));
  s.batch.left_out.clear();
  s.missing = n;
  s.batch.n = n;
  s.batch.slices.clear();
  for (Index i = options_.first_slice; i < options_.first_slice + options_.slice_count; ++i) {
    const Index begin = slice_begin(size_of(batch), options_.slices, i);
    s.batch.slices.push_back({begin, slice_begin(size_of(batch), options_.slices, i + 1) - begin});
  }
  s.batch.images.resize(static_cast<std::size_t>(n * sample_bytes_));
  s.batch.targets.resize(static_cast<std::size_t>(n));
  s.batch.indices.assign(order_.begin() + first, order_.begin() + first + n);
  for (std::size_t i = 0; i < s.batch.indices.size(); ++i) {
    s.batch.targets[i] = static_cast<float>(dataset_.samples[s.batch.indices[i]].label);
  }
}

bool Loader::next(Batch& batch) {
  std::unique_lock lock(mutex_);
  if (!started_ || taken_ >= batches_) return false;
  Slot& s = slot(taken_);
  batch_ready_.wait(lock, [&s] { return s.missing == 0; });
  if (!s.error) hand_over(s, batch);
  if (s.error) std::rethrow_exception(s.error);
  ++taken_;
  work_ready_.notify_all();
  return true;
}

// What fails half-way leaves a slot that is good for nothing.
void Loader::hand_over(Slot& s, Batch& batch) {
  try {
    if (!s.unreadable.empty()) leave_out_unreadable(s);
    std::swap(s.batch, batch);
    if (taken_ + kAhead < batches_) prepare_slot(taken_ + kAhead);
  } catch (...) {
    s.error = std::current_exception();
    s.missing = 0;
  }
}

// Closes the gaps that unreadable pictures left.
void Loader::leave_out_unreadable(Slot& s) const {
  std::ranges::sort(s.unreadable, {}, &Unreadable::place);
  Batch& b = s.batch;
  auto bad = s.unreadable.begin();
  Index kept = 0;
  const Index first = b.slices[0].first;
  for (Slice& slice : b.slices)
    slice.n -= std::ranges::count_if(s.unreadable, [&](const auto& picture) {
      const Index place = first + picture.place;
      return place >= slice.first && place < slice.first + slice.n;
    });
  for (Index place = 0; place < b.n; ++place) {
    const auto from = static_cast<std::size_t>(place), to = static_cast<std::size_t>(kept);
    if (bad != s.unreadable.end() && bad->place == place) {
      b.left_out.push_back({b.indices[from], message_of(bad->why)});
      ++bad;
      continue;
    }
    b.indices[to] = b.indices[from];
    b.targets[to] = b.targets[from];
    if (kept != place) {
      std::memcpy(b.images.data() + kept * sample_bytes_, b.images.data() + place * sample_bytes_,
                  static_cast<std::size_t>(sample_bytes_));
    }
    ++kept;
  }
  b.n = kept;
  b.images.resize(static_cast<std::size_t>(kept * sample_bytes_));
  b.targets.resize(static_cast<std::size_t>(kept));
  b.indices.resize(static_cast<std::size_t>(kept));
}

void Loader::work(Tools& tools) {
  std::unique_lock lock(mutex_);
  while (true) {
    work_ready_.wait(lock, [this] { return stop_ || can_claim(); });
    if (stop_) return;
    const Index position = claimed_++;
    const Index batch = position / most_, place = position % most_;
    const std::uint64_t epoch = epoch_;
    Slot& s = slot(batch);
    const std::uint32_t index = s.batch.indices[at(place)];
    std::uint8_t* out = s.batch.images.data() + place * sample_bytes_;
    ++busy_;
    lock.unlock();
    std::exception_ptr error, unreadable;
    try {
      make_sample(index, epoch, tools, out);
    } catch (const DataError&) {
      (options_.on_bad == OnBad::Skip ? unreadable : error) = std::current_exception();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --busy_;
    if (unreadable) s.unreadable.push_back({place, std::move(unreadable)});
    // The first in order, not in time: errors too are the same whatever the thread count.
    if (error && (!s.error || place < s.error_at)) {
      s.error = error;
      s.error_at = place;
    }
    if (--s.missing == 0 || busy_ == 0) batch_ready_.notify_all();
  }
}

void Loader::resize(const Image& image, Crop crop, Preparer& preparer, std::uint8_t* out) const {
  if (!options_.stability) return preparer.resize(image, crop, options_.views, out);
  PerturbScratch scratch;
  for (const Image& form : stability_forms(image, scratch)) {
    preparer.resize(form, crop, options_.views, out);
    out += sample_bytes_ / kStabilityForms;
  }
}

// A packed set holds squares only: changes and further views are made of them.
void Loader::prepare(std::uint32_t index, std::uint64_t epoch, Preparer& preparer,
                     std::uint8_t* out) const {
  const Sample& sample = dataset_.samples[index];
  if (!dataset_.pack) {
    Image& image = decode_sample(dataset_, sample, preparer);
    if (options_.change) options_.change(image, index);
    if (options_.new_windows)
      preparer.cut(image, draw_window(image.h, image.w, options_.size, options_.seed, epoch, index),
                   out);
    else
      resize(image, options_.crop, preparer, out);
  } else if (!options_.change && !options_.stability && options_.views == Views::One) {
    dataset_.pack->read(sample.record, out);
  } else {
    const auto bytes = static_cast<std::size_t>(options_.size * options_.size * 3);
    Image square{options_.size, options_.size, std::vector<std::uint8_t>(bytes)};
    dataset_.pack->read(sample.record, square.rgb.data());
    if (options_.change) options_.change(square, index);
    resize(square, Crop::None, preparer, out);
  }
}

void Loader::make_sample(std::uint32_t index, std::uint64_t epoch, Tools& tools,
                         std::uint8_t* out) {
  const auto bytes = static_cast<std::size_t>(sample_bytes_);
  if (cache_ && cached_[index]) {
    std::memcpy(out, cache_.get() + index * bytes, bytes);
  } else {
    prepare(index, epoch, tools.preparer, out);
    if (cache_) {
      std::memcpy(cache_.get() + index * bytes, out, bytes);
      cached_[index] = 1;
    }
  }
  const Augmentation drawn =
      draw_augmentation(options_.augment, options_.size, options_.seed, epoch, index);
  tools.augmenter.apply(drawn, out, options_.size);
}

}  // namespace dfengine
