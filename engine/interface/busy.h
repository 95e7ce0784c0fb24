// One thread at a time in a session: the second one is told, before anything is touched.
#pragma once

#include <atomic>

#include "kernels/base/error.h"

namespace dfengine::interface {

class Busy : public Error {
 public:
  using Error::Error;
};

// Throws Busy while another one of the same flag lives.
class OneAtATime {
 public:
  explicit OneAtATime(std::atomic<bool>& taken) : taken_(taken) {
    if (taken_.exchange(true, std::memory_order_acquire))
      throw Busy("another thread is in this session: give each thread a session of its own");
  }
  ~OneAtATime() { taken_.store(false, std::memory_order_release); }
  OneAtATime(const OneAtATime&) = delete;
  OneAtATime& operator=(const OneAtATime&) = delete;

 private:
  std::atomic<bool>& taken_;
};

}  // namespace dfengine::interface
