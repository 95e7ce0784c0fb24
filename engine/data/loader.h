// Makes batches of prepared pictures, which threads of its own decode ahead.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/data/augment/augment.h"
#include "engine/data/pictures/prepare.h"
#include "engine/data/pictures/views.h"
#include "engine/data/sets/dataset.h"
#include "kernels/base/shape.h"

namespace dfengine {

struct LoaderOptions : Preparation {
  Index batch = 32;
  Views views = Views::One;
  // Changes a decoded picture in place before it is resized. It may be empty. Several threads call
  // it, and what it does must follow from the picture and its position in the data set.
  std::function<void(Image&, std::uint32_t index)> change = {};
  // A sample is all forms of its picture (stability_forms.h), one after the other.
  bool stability = false;
  AugmentOptions augment = {};  // with Views::One only
  // With Crop::Random: each epoch cuts another window (draw_window), and nothing is kept. Not of
  // packed sets.
  bool new_windows = false;
  bool shuffle = false;
  std::uint64_t seed = 0;
  // Each batch is cut into so many slices (slice_begin), and this loader makes those of one
  // process.
  Index slices = 1, first_slice = 0, slice_count = 1;
  int threads = 1;
  OnBad on_bad = OnBad::Fail;
  // Prepared pixels are kept for later epochs when the whole data set (samples * views * size *
  // size * 3 bytes) fits in this; 0 turns this off.
  std::uint64_t cache_bytes = std::uint64_t{2} << 30;
};

// The options of a single pass over pictures in their own order, of which nothing is kept.
LoaderOptions one_pass(const Preparation& how, int threads, OnBad on_bad);

// A picture that was left out of its batch.
struct LeftOut {
  std::uint32_t index = 0;  // position in the data set
  std::string reason;
};

struct Batch {
  Index n = 0;
  // One behind the other. They begin where they do in the whole batch with the pictures that were
  // left out, and n counts what is left.
  std::vector<Slice> slices;
  std::vector<std::uint8_t> images;    // [n, views, size, size, 3], or [n, forms, views, ...]
  std::vector<float> targets;          // [n] 1 for fake
  std::vector<std::uint32_t> indices;  // [n] positions in the data set
  std::vector<LeftOut> left_out;       // with OnBad::Skip
};

// Batches come in the order of epoch_order and have the same bits whatever the thread count. The
// last batch of an epoch may be smaller. At most kAhead batches wait, and buffers are used again.
class Loader {
 public:
  // `dataset` must outlive the loader. Throws UsageError for batch, size or threads below 1.
  Loader(const Dataset& dataset, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const LoaderOptions& options() const { return options_; }
  // The number of batches in one epoch.
  Index batches() const { return batches_; }
  // Begins an epoch at any of its batches and drops what was being made. Throws UsageError when
  // first_batch is not in [0, batches()].
  void start(std::uint64_t epoch, Index first_batch = 0);
  // Swaps the next batch with `batch`, whose buffers are used again. Gives false after the last one
  // and before start(). A picture that cannot be decoded makes this and every later call throw
  // DataError, naming the file, until start(); so does memory that ends, with std::bad_alloc. With
  // OnBad::Skip its batch is smaller instead (n may be 0), while all others keep their pictures, in
  // this epoch and every other.
  bool next(Batch& batch);

 private:
  static constexpr Index kAhead = 4;

  struct Unreadable {
    Index place = 0;  // in the batch
    std::exception_ptr why;
  };
  struct Slot {
    Batch batch;
    Index missing = 0;   // pictures that are not there yet
    Index error_at = 0;  // place in the batch of the first picture that failed
    std::exception_ptr error;
    std::vector<Unreadable> unreadable;  // with OnBad::Skip
  };

  struct Tools;  // of one worker

  // Where this loader's part of a batch begins and ends.
  Index part_begin(Index batch) const;
  Index part_end(Index batch) const;
  Index size_of(Index batch) const;
  Slot& slot(Index batch) { return slots_[at(batch % kAhead)]; }
  void prepare_slot(Index batch);
  void leave_out_unreadable(Slot& s) const;
  bool can_claim() const { return claimed_ < end_ && claimed_ / most_ < taken_ + kAhead; }
  void hand_over(Slot& s, Batch& batch);
  void check_pack() const;
  void stop_workers();
  void work(Tools& tools);
  void prepare(std::uint32_t index, std::uint64_t epoch, Preparer& preparer,
               std::uint8_t* out) const;
  void resize(const Image& image, Crop crop, Preparer& preparer, std::uint8_t* out) const;
  void make_sample(std::uint32_t index, std::uint64_t epoch, Tools& tools, std::uint8_t* out);

  const Dataset& dataset_;
  const LoaderOptions options_;
  const Index sample_bytes_;
  const Index batches_;
  const Index most_;  // pictures of its part of a batch at most

  // Each sample has its own place and flag here, which only the worker that has it writes.
  std::unique_ptr<std::uint8_t[]> cache_;
  std::vector<std::uint8_t> cached_;

  std::mutex mutex_;
  std::condition_variable work_ready_, batch_ready_;
  bool stop_ = false;
  std::uint64_t epoch_ = 0;
  std::vector<std::uint32_t> order_;
  Index claimed_ = 0;  // how many of its pictures were given to workers
  Index end_ = 0;      // how many will be given
  bool started_ = false;
  Index taken_ = 0;  // how many batches of the epoch the caller has had
  Index busy_ = 0;   // how many workers are making a picture
  std::vector<Slot> slots_;
  std::vector<std::thread> workers_;
};

}  // namespace dfengine
