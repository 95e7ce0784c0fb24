#include "kernels/cuda/tuning/problem_memory.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/base/stored.h"

namespace dfengine::cuda {
namespace {

constexpr Index kAlignment = 256;
// More than a tile's row.
constexpr Index kStrip = 1024;
constexpr std::byte kNaN{0xFF};  // of every type
// Few, because drawing takes the host long. The number of rows after which they come again is a
// prime for most numbers of channels: a kernel that reads another tile's rows does not read the
// same.
constexpr Index kNumbers = 8 * 2039;
// Operands of equal numbers would hide that they were taken for each other.
constexpr Index kApart = 8 * 131;

// Fills with the random numbers from one on, over and over.
template <class T>
void fill_as(Stream stream, const std::vector<double>& random, Index from, Index count, void* to) {
  std::vector<T> values;
  for (Index i = 0; i < std::min(kNumbers, count); ++i)
    values.push_back(stored<T>(random[at((from + i) % kNumbers)]));
  auto* const first = static_cast<T*>(to);
  Index done = std::ssize(values);
  upload(stream, first, values.data(), done * Index{sizeof(T)});
  for (; done < count; done *= 2)
    copy_on_device(stream, first + done, first, std::min(done, count - done) * Index{sizeof(T)});
  synchronize(stream);
}

}  // namespace

ProblemMemory::ProblemMemory(Stream stream, const TunerProblem& problem, Index bytes, Index most)
    : stream_(stream), problem_(problem), set_bytes_(kStrip) {
  for (const Operand& o : problem.operands) {
    offsets_.push_back(set_bytes_);
    set_bytes_ += round_up(o.bytes() + kStrip, kAlignment);
  }
  sets_ = std::clamp(bytes / set_bytes_, Index{1}, most);
  memory_ = allocate_device(sets_ * set_bytes_);
  Random generator(1, RandomStream::Noise, 0);
  for (Index i = 0; i < kNumbers; ++i) random_.push_back(generator.uniform(-1, 1));
  for (std::size_t i = 0; i < offsets_.size(); ++i) fill(i);
  for (Index s = 0; s < sets_; ++s) {
    if (s > 0) copy_on_device(stream_, set(s), set(0), set_bytes_);
    std::vector<void*>& operands = operands_.emplace_back();
    for (const Index offset : offsets_) operands.push_back(set(s) + offset);
  }
}

void ProblemMemory::fill(std::size_t operand) {
  const auto& [type, count] = problem_.operands[operand];
  const Index from = static_cast<Index>(operand) * kApart;
  void* const to = set(0) + offsets_[operand];
  with_type(type, [&]<class T>(T) { fill_as<T>(stream_, random_, from, count, to); });
}

std::vector<ProblemMemory::Strip> ProblemMemory::strips(Index scratch) const {
  std::vector<Strip> all = {{0, kStrip, "before its operands"}};
  for (std::size_t i = 0; i < offsets_.size(); ++i) {
    const Index end = offsets_[i] + problem_.operands[i].bytes();
    const Index next = i + 1 < offsets_.size() ? offsets_[i + 1] : set_bytes_;
    all.push_back({end, next - end, "behind operand " + std::to_string(i)});
  }
  all.push_back({offsets_.back() + scratch, kStrip, "behind its scratch"});
  return all;
}

void ProblemMemory::prepare(Index scratch) {
  fill(problem_.output);
  if (problem_.further) fill(problem_.further->operand);
  for (const Strip& strip : strips(scratch)) {
    const std::vector<std::byte> nan(at(strip.bytes), kNaN);
    upload(stream_, set(0) + strip.offset, nan.data(), strip.bytes);
  }
}

void ProblemMemory::require_intact(Index scratch) const {
  for (const Strip& strip : strips(scratch)) {
    std::vector<std::byte> found(at(strip.bytes));
    download(stream_, found.data(), set(0) + strip.offset, strip.bytes);
    synchronize(stream_);
    if (std::ranges::any_of(found, [](std::byte b) { return b != kNaN; }))
      throw DeviceError("writes " + strip.place);
  }
}

}  // namespace dfengine::cuda
