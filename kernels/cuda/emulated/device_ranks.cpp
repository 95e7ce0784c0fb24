// kernels/cuda/device_ranks.h between threads of one process, each of which stands for a device's.
#include "kernels/cuda/device_ranks.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/cuda/emulated/emulator.h"

namespace dfengine::cuda {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

// Where the threads of a run meet, again and again.
struct Meeting {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<const void*> given;  // by rank
  int there = 0;
  std::uint64_t rounds = 0;

  // Waits until all have come.
  void wait() {
    std::unique_lock lock(mutex);
    const std::uint64_t round = rounds;
    if (++there == static_cast<int>(given.size())) {
      there = 0;
      ++rounds;
      changed.notify_all();
    } else if (!changed.wait_for(lock, kPatience, [&] { return rounds != round; })) {
      throw DeviceError("emulated CUDA: a rank did not come to an exchange");
    }
  }
  // Calls use() while what all have given stays as it is.
  template <class Use>
  void exchange(int rank, const void* mine, Use&& use) {
    given[static_cast<std::size_t>(rank)] = mine;
    wait();
    use();
    wait();
  }
};

std::shared_ptr<Meeting> meeting_of(const std::string& name, int size) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Meeting>> all;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Meeting> meeting = all[name].lock();
  if (!meeting) {
    meeting = std::make_shared<Meeting>();
    meeting->given.resize(static_cast<std::size_t>(size));
    all[name] = meeting;
  }
  return meeting;
}

// From the last rank to the first, which is not the order of the tree.
template <class T>
void add_up(Meeting& meeting, int rank, Index count, T* values) {
  std::vector<T> sums(static_cast<std::size_t>(count));
  meeting.exchange(rank, values, [&] {
    for (auto given = meeting.given.rbegin(); given != meeting.given.rend(); ++given)
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<const T*>(*given)[i];
  });
  std::memcpy(values, sums.data(), sums.size() * sizeof(T));
}

}  // namespace

std::string new_meeting() {
  static std::mutex mutex;
  static int made = 0;
  const std::lock_guard lock(mutex);
  return "meeting " + std::to_string(++made);
}

struct DeviceRanks::Joined {
  std::shared_ptr<Meeting> meeting;
  int rank;
};

DeviceRanks::DeviceRanks(const std::string& meeting, int rank, int size)
    : joined_(std::make_unique<Joined>(Joined{meeting_of(meeting, size), rank})) {
  joined_->meeting->wait();
}

DeviceRanks::~DeviceRanks() = default;

void DeviceRanks::gather(Stream, Index bytes, const void* mine, void* all) const {
  emulated::submit([joined = *joined_, bytes, mine, all] {
    joined.meeting->exchange(joined.rank, mine, [&] {
      auto* to = static_cast<std::byte*>(all);
      for (const void* given : joined.meeting->given) {
        std::memcpy(to, given, static_cast<std::size_t>(bytes));
        to += bytes;
      }
    });
  });
}

void DeviceRanks::sum(Stream, Index count, float* values) const {
  emulated::submit(
      [joined = *joined_, count, values] { add_up(*joined.meeting, joined.rank, count, values); });
}

void DeviceRanks::sum(Stream, Index count, double* values) const {
  emulated::submit(
      [joined = *joined_, count, values] { add_up(*joined.meeting, joined.rank, count, values); });
}

}  // namespace dfengine::cuda
