#include "tests/engine/interface/failing_new.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace dfengine::test {

std::atomic<long> allocations_left{-1};

namespace {

constexpr std::size_t kUsual = alignof(std::max_align_t);

// Whoever asks for no exception goes on without the memory, so that there would be nothing to see.
void* take_or_null(std::size_t bytes, std::size_t alignment) {
  void* taken = nullptr;
  return posix_memalign(&taken, alignment, bytes) == 0 ? taken : nullptr;
}

void* take(std::size_t bytes, std::size_t alignment = kUsual) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) == 0) throw std::bad_alloc();
  void* const taken = take_or_null(bytes, alignment);
  if (taken == nullptr) throw std::bad_alloc();
  return taken;
}

}  // namespace
}  // namespace dfengine::test

// All forms, as a sanitizer's own do not call each other.
using dfengine::test::kUsual;
using dfengine::test::take;
using dfengine::test::take_or_null;

void* operator new(std::size_t bytes) {
  return take(bytes);
}
void* operator new[](std::size_t bytes) {
  return take(bytes);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return take(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return take(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return take_or_null(bytes, kUsual);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return take_or_null(bytes, kUsual);
}

void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete[](void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, std::size_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, const std::nothrow_t&) noexcept {
  std::free(p);
}
void operator delete[](void* p, const std::nothrow_t&) noexcept {
  std::free(p);
}
