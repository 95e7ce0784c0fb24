// Photographs the painted scenes, passes the fakes through the decoder, writes the JPEG files.
#include "engine/synth/synth.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

// Of this file alone: a program that links the library may have one of its own.
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

#include "engine/synth/canvas.h"
#include "engine/synth/portrait.h"
#include "engine/synth/upsample.h"
#include "kernels/base/error.h"
#include "kernels/base/file_lock.h"

namespace dfengine {
namespace {

constexpr Index kMinSize = 32, kMaxSize = 1024;
constexpr Index kMinCount = 20, kMaxCount = 1'000'000;
constexpr std::uint32_t kLowestQuality = 90, kQualities = 7;

void check_size(Index size) {
  if (size < kMinSize || size > kMaxSize || size % 4 != 0) {
    throw UsageError(fmt::format("synth: size {} is not a multiple of 4 from {} to {}", size,
                                 kMinSize, kMaxSize));
  }
}

// One axis of the lens' blur: weights (edge, 1 - 2 edge, edge), borders repeated.
Canvas blur(const Canvas& in, float edge, Index step_y, Index step_x) {
  Canvas out(in.size);
  const Index last = in.size - 1;
  for (Index y = 0; y < in.size; ++y) {
    for (Index x = 0; x < in.size; ++x) {
      const float* before = in.at(std::max(y - step_y, Index{0}), std::max(x - step_x, Index{0}));
      const float* after = in.at(std::min(y + step_y, last), std::min(x + step_x, last));
      const float* here = in.at(y, x);
      float* p = out.at(y, x);
      for (Index c = 0; c < 3; ++c) p[c] = here[c] + edge * (before[c] + after[c] - 2.0f * here[c]);
    }
  }
  return out;
}

// Lens blur, then sensor noise: a read part and a part that grows with the light (photon counting).
Canvas photograph(const Canvas& scene, Random& random) {
  const float edge = draw(random, 0.05, 0.16);
  const float noise = draw(random, 1.0, 3.0) / 255.0f;
  Canvas photo = blur(blur(scene, edge, 0, 1), edge, 1, 0);
  for (float& value : photo.rgb) {
    value += noise * std::sqrt(0.4f + 1.2f * std::max(value, 0.0f)) * byte_noise(random);
  }
  return photo;
}

struct Drawn {
  std::vector<std::uint8_t> pixels;
  int quality;
};

Drawn draw_picture(std::uint64_t seed, std::uint64_t number, Index size, SynthClass kind) {
  check_size(size);
  Random random(seed, RandomStream::Synth, number);
  const Canvas scene = paint_face(random, size);
  Canvas photo = photograph(scene, random);
  // Drawn before the classes part, so that they share its distribution.
  const std::uint32_t quality = kLowestQuality + random.below(kQualities);
  if (kind == SynthClass::Fake) {
    Canvas decoded = pass_through_decoder(photo, random);
    match_mean_variance(decoded, photo);
    photo = std::move(decoded);
  }
  Drawn drawn{std::vector<std::uint8_t>(photo.rgb.size()), static_cast<int>(quality)};
  for (std::size_t i = 0; i < photo.rgb.size(); ++i) {
    drawn.pixels[i] =
        static_cast<std::uint8_t>(std::clamp(photo.rgb[i], 0.0f, 1.0f) * 255.0f + 0.5f);
  }
  return drawn;
}

void append_bytes(void* context, void* data, int size) {
  auto& bytes = *static_cast<std::vector<std::uint8_t>*>(context);
  const auto* first = static_cast<const std::uint8_t*>(data);
  bytes.insert(bytes.end(), first, first + size);
}

constexpr const char* kSplits[] = {"train", "valid", "test"};

// Which split pair `pair` of pictures (one real, one fake) belongs to.
const char* split_of(Index pair) {
  return kSplits[std::max<Index>(pair % 10 - 7, 0)];
}

void check_options(const SynthOptions& options) {
  check_size(options.size);
  if (options.count < kMinCount || options.count > kMaxCount) {
    throw UsageError(
        fmt::format("synth: count {} is not from {} to {}", options.count, kMinCount, kMaxCount));
  }
  for (const char* split : kSplits) {
    std::error_code error;
    const std::filesystem::path folder = options.output / split;
    if (std::filesystem::exists(folder, error)) {
      throw UsageError(fmt::format("synth: {} exists already: remove it or choose another --output",
                                   folder.string()));
    }
  }
}

void make_folders(const std::filesystem::path& output) {
  for (const char* split : kSplits) {
    for (const char* label : {"real", "fake"}) {
      const std::filesystem::path folder = output / split / label;
      std::error_code error;
      std::filesystem::create_directories(folder, error);
      if (error) {
        throw Error(
            fmt::format("synth: cannot create folder {}: {}", folder.string(), error.message()));
      }
    }
  }
}

// Whole or not at all, but not synced: what a power cut takes is drawn anew, and a sync for each
// takes twice as long as drawing it.
void write_file(const std::filesystem::path& path, const std::vector<std::uint8_t>& bytes) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file && write_all(file.get(), std::as_bytes(std::span(bytes)))) return;
  const std::string reason = std::strerror(errno);
  if (file) ::unlink(path.c_str());
  throw Error(
      fmt::format("synth: cannot write {} ({} bytes): {}", path.string(), bytes.size(), reason));
}

bool is_fake(Index number) {
  return number % 2 != 0;
}

std::filesystem::path file_of(const SynthOptions& options, Index number) {
  return options.output / split_of(number / 2) / (is_fake(number) ? "fake" : "real") /
         fmt::format("{:05}.jpg", number);
}

// Of a set that an error cut short nothing stays but what others put there: it would be taken for a
// whole one, and would be in the way of the next try.
void remove_begun(const SynthOptions& options, Index written) {
  std::error_code stays;
  for (Index number = 0; number < written; ++number)
    std::filesystem::remove(file_of(options, number), stays);
  for (const char* split : kSplits) {
    for (const char* label : {"real", "fake"})
      std::filesystem::remove(options.output / split / label, stays);
    std::filesystem::remove(options.output / split, stays);
  }
}

}  // namespace

std::vector<std::uint8_t> draw_synth_jpeg(std::uint64_t seed, std::uint64_t number, Index size,
                                          SynthClass kind) {
  const Drawn drawn = draw_picture(seed, number, size, kind);
  const int side = static_cast<int>(size);
  std::vector<std::uint8_t> bytes;
  if (stbi_write_jpg_to_func(append_bytes, &bytes, side, side, 3, drawn.pixels.data(),
                             drawn.quality) == 0) {
    throw DataError(fmt::format("synth: the JPEG encoder refused picture {} of seed {}, {}x{}",
                                number, seed, side, side));
  }
  return bytes;
}

void write_synth_set(const SynthOptions& options, const SynthProgress& progress) {
  check_options(options);
  Index number = 0;
  try {
    make_folders(options.output);
    while (number < options.count) {
      const auto jpeg =
          draw_synth_jpeg(options.seed, static_cast<std::uint64_t>(number), options.size,
                          is_fake(number) ? SynthClass::Fake : SynthClass::Real);
      write_file(file_of(options, number), jpeg);
      ++number;
      if (progress) progress(number, options.count);
    }
  } catch (...) {
    remove_begun(options, number);
    throw;
  }
}

}  // namespace dfengine
