// operator new of the whole test program, which fails when it is told to.
#pragma once

#include <atomic>

namespace dfengine::test {

// How many allocations of all threads still succeed until one fails; below 0: none fails.
extern std::atomic<long> allocations_left;

// Calls call() with its allocation number n failing. False when it makes fewer.
template <class Call>
bool with_failure(long n, const Call& call) {
  allocations_left = n;
  call();
  return allocations_left.exchange(-1) < 0;
}

}  // namespace dfengine::test
