#include "tests/ptx/instructions/traffic.h"

#include <algorithm>

namespace dfengine::ptx {
namespace {

constexpr std::uint64_t kBanks = 32, kWordBytes = 4, kSectorBytes = 32;

// Moves what differs to the front, and says how many there are.
template <class Range>
long long distinct(Range& values, std::size_t count) {
  std::sort(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
  return std::unique(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count)) -
         values.begin();
}

bool lies_in(const std::byte* at, const std::vector<std::byte>& memory) {
  return at >= memory.data() && at < memory.data() + memory.size();
}

}  // namespace

void Request::note(int lane, const std::byte* at, int bytes) {
  bytes_ = bytes;
  const Lanes bit = Lanes{1} << lane;
  if (at >= block_.shared && at < block_.shared + block_.shared_bytes) {
    shared_ |= bit;
    addresses_[static_cast<std::size_t>(lane)] = static_cast<std::uint64_t>(at - block_.shared);
  } else if (!lies_in(at, block_.parameters) && !lies_in(at, block_.local)) {
    device_ |= bit;
    addresses_[static_cast<std::size_t>(lane)] = reinterpret_cast<std::uint64_t>(at);
  }
}

void Request::count() const {
  if (shared_ != 0) count_shared();
  if (device_ != 0) count_device();
}

// 32 banks of four bytes each give one word a clock. Lanes with eight bytes go in two halves of the
// warp, with sixteen in four quarters (CUDA C++ Programming Guide, "Shared Memory"; the halves by
// measurement of many).
void Request::count_shared() const {
  const int lanes = bytes_ <= 4 ? kLanes : static_cast<int>(kBanks * kWordBytes) / bytes_;
  const auto words_of_lane = static_cast<std::uint64_t>(std::max(bytes_ / 4, 1));
  for (int first = 0; first < kLanes; first += lanes) {
    std::array<std::uint64_t, kBanks> words{};
    std::size_t count = 0;
    for (int lane = first; lane < first + lanes; ++lane)
      if ((shared_ >> lane & 1) != 0)
        for (std::uint64_t w = 0; w < words_of_lane; ++w)
          words[count++] = addresses_[static_cast<std::size_t>(lane)] / kWordBytes + w;
    if (count == 0) continue;
    std::array<long long, kBanks> of_bank{};
    const auto kept = static_cast<std::size_t>(distinct(words, count));
    for (std::size_t i = 0; i < kept; ++i) ++of_bank[words[i] % kBanks];
    const long long waves = *std::ranges::max_element(of_bank);
    block_.traffic->waves += waves;
    ++block_.traffic->least_waves;
    if (block_.counts == nullptr) continue;
    InstructionCount& of = block_.counts[instruction_ - block_.code->instructions.data()];
    of.waves += waves;
    ++of.least_waves;
  }
}

void Request::count_device() const {
  std::array<std::uint64_t, kLanes> sectors{};
  std::size_t count = 0;
  for_lanes(device_, [&](int lane) {
    sectors[count++] = addresses_[static_cast<std::size_t>(lane)] / kSectorBytes;
  });
  (writes_ ? block_.traffic->bytes_written : block_.traffic->bytes_read) +=
      static_cast<long long>(count) * bytes_;
  (writes_ ? block_.traffic->sectors_written : block_.traffic->sectors_read) +=
      distinct(sectors, count);
}

}  // namespace dfengine::ptx
