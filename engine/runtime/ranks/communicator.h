// Processes that train together. What they add up is added in one binary tree over the ranks,
// whatever the way of the bytes: neighbours first, then neighbouring pairs. Each implementation
// only exchanges bytes with one other rank; one alone has nobody to ask.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/base/index.h"

namespace dfengine {

class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;
  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }  // a power of two

  // All ranks call these together, with as many values each, and get the same bits.
  void sum(std::span<float> values);
  void sum(std::span<double> values);
  // What each rank says, by rank.
  std::vector<std::string> gather(const std::string& text);
  // Whether any rank says so.
  bool any(bool mine);
  // Who says what, where not all say the same: "rank 0 has A, rank 1 has B"; else "".
  std::string difference(const std::string& mine);

 private:
  // Sends `out` to a rank that calls this with this one's rank, and takes what it sends into `in`.
  virtual void exchange(int /*rank*/, std::span<const std::byte> /*out*/,
                        std::span<std::byte> /*in*/) {}

  template <class T>
  void sum_values(std::span<T> values);

  std::vector<std::byte> theirs_;
};

}  // namespace dfengine
