#include "engine/data/feed_bench.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>

#include "engine/data/pack.h"
#include "engine/data/tar.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace dfengine {
namespace {

// A file's bytes and the picture in it.
struct Held {
  std::vector<std::byte> file;
  Image image;
};

// Calls a second of the fastest round, each of `count` calls.
template <class Work>
double rate(int rounds, Index count, Work&& work) {
  double fastest = std::numeric_limits<double>::infinity();
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    fastest = std::min(fastest, taken.count());
  }
  return static_cast<double>(count) / fastest;
}

// The readable pictures among the first `most` samples, which alone stay in the set.
std::vector<Held> hold(Dataset& dataset, const LoaderOptions& how, Index most) {
  std::vector<Held> pictures;
  std::vector<Sample> readable;
  ImageDecoder decoder(how.max_pixels);
  for (const Sample& sample : dataset.samples) {
    if (std::ssize(readable) == most) break;
    try {
      Held held;
      if (dataset.tars) {
        dataset.tars->read(sample.record, held.file);
      } else {
        const std::filesystem::path path = dataset.path(sample);
        std::ifstream stream(path, std::ios::binary);
        std::error_code unreadable;
        const std::uintmax_t size = std::filesystem::file_size(path, unreadable);
        if (unreadable || size > kMaxImageFileBytes) continue;
        held.file.resize(size);
        stream.read(reinterpret_cast<char*>(held.file.data()), std::ssize(held.file));
      }
      held.image = decoder.decode(held.file, sample.relative);
      pictures.push_back(std::move(held));
      readable.push_back(sample);
    } catch (const DataError&) {
      continue;
    }
  }
  dataset.samples = std::move(readable);
  return pictures;
}

void measure_files(const std::vector<Held>& held, const LoaderOptions& how, int rounds,
                   std::uint8_t* out, FeedRates& rates) {
  ImageDecoder decoder(how.max_pixels);
  Resizer resizer(how.resize);
  const auto prepare = [&](const Image& image) {
    prepare_image(image, how.crop, how.size, resizer, out);
  };
  double pixels = 0;
  for (const Held& h : held) pixels += static_cast<double>(h.image.h * h.image.w);
  rates.megapixels = pixels / static_cast<double>(held.size()) / 1e6;
  rates.decode = rate(rounds, rates.pictures, [&] {
    for (const Held& h : held) decoder.decode(h.file, "");
  });
  rates.resize = rate(rounds, rates.pictures, [&] {
    for (const Held& h : held) prepare(h.image);
  });
  rates.decode_resize = rate(rounds, rates.pictures, [&] {
    for (const Held& h : held) prepare(decoder.decode(h.file, ""));
  });
}

void measure_augment(const LoaderOptions& how, int rounds, std::uint8_t* out, FeedRates& rates) {
  if (how.augment == AugmentOptions{}) return;
  Augmenter augmenter(how.resize);
  rates.augment = rate(rounds, rates.pictures, [&] {
    for (Index i = 0; i < rates.pictures; ++i) {
      const auto index = static_cast<std::uint32_t>(i);
      augmenter.apply(draw_augmentation(how.augment, how.size, how.seed, 0, index), out, how.size);
    }
  });
}

// Every sample once, all threads at the same time.
double measure_all_threads(const Dataset& dataset, const LoaderOptions& how, int rounds) {
  ThreadPool pool(how.threads);
  const auto bytes = static_cast<std::size_t>(how.size * how.size * 3);
  std::vector<Preparer> preparers(static_cast<std::size_t>(how.threads), Preparer(how));
  std::vector<std::uint8_t> out(bytes * preparers.size());
  const Index n = std::ssize(dataset.samples);
  return rate(rounds, n, [&] {
    parallel_for(pool, n, [&](Index i, int worker) {
      const auto w = static_cast<std::size_t>(worker);
      prepare_sample(dataset, dataset.samples[at(i)], preparers[w], out.data() + w * bytes);
    });
  });
}

double measure_loader(const Dataset& dataset, LoaderOptions how, bool cached, int rounds) {
  how.cache_bytes = cached ? std::numeric_limits<std::uint64_t>::max() : 0;
  Loader loader(dataset, how);
  Batch batch;
  std::uint64_t epoch = 0;
  const auto run = [&] {
    loader.start(epoch++);
    while (loader.next(batch)) {
    }
  };
  if (cached) run();  // fills the cache
  return rate(rounds, std::ssize(dataset.samples), run);
}

}  // namespace

FeedRates measure_feed(const Dataset& dataset, const LoaderOptions& how, Index most, int rounds) {
  if (most < 1 || rounds < 1) throw UsageError("bench: count and rounds must be at least 1");
  Dataset part = dataset;
  FeedRates rates;
  rates.threads = how.threads;
  std::vector<std::uint8_t> out(static_cast<std::size_t>(how.size * how.size * 3));
  if (part.pack) {
    std::erase_if(part.samples, [&](const Sample& s) {
      return std::ranges::binary_search(part.pack->bad(), s.record);
    });
    part.samples.resize(std::min(part.samples.size(), static_cast<std::size_t>(most)));
    rates.pictures = std::ssize(part.samples);
    rates.read = rate(rounds, rates.pictures, [&] {
      for (const Sample& s : part.samples) part.pack->read(s.record, out.data());
    });
  } else {
    const std::vector<Held> held = hold(part, how, most);
    rates.pictures = std::ssize(part.samples);
    if (!held.empty()) measure_files(held, how, rounds, out.data(), rates);
  }
  if (rates.pictures == 0) throw DataError(dataset.root.string() + ": no picture could be read");
  measure_augment(how, rounds, out.data(), rates);
  rates.all_threads = measure_all_threads(part, how, rounds);
  rates.feed = measure_loader(part, how, false, rounds);
  if (!part.pack) rates.feed_cached = measure_loader(part, how, true, rounds);
  return rates;
}

}  // namespace dfengine
