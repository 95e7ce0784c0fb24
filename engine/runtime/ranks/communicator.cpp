#include "engine/runtime/ranks/communicator.h"

#include <algorithm>
#include <cstdint>

namespace dfengine {

// At each level of the tree partners add the other's subtree to their own, so that both go on with
// the same sum: a + b has the bits of b + a.
template <class T>
void Communicator::sum_values(std::span<T> values) {
  theirs_.resize(std::max(theirs_.size(), values.size_bytes()));
  const std::span theirs = std::span(theirs_).first(values.size_bytes());
  for (int distance = 1; distance < size(); distance *= 2) {
    exchange(rank() ^ distance, std::as_bytes(values), theirs);
    const T* from = reinterpret_cast<const T*>(theirs.data());
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += from[i];
  }
}

void Communicator::sum(std::span<float> values) {
  sum_values(values);
}

void Communicator::sum(std::span<double> values) {
  sum_values(values);
}

// Partners hand over all that they have: after the last level everybody has everything.
std::vector<std::string> Communicator::gather(const std::string& text) {
  std::vector<std::string> all{text};
  for (int distance = 1; distance < size(); distance *= 2) {
    const int partner = rank() ^ distance;
    std::vector<std::uint64_t> sizes, their_sizes(all.size());
    std::string joined, theirs;
    for (const std::string& part : all) {
      sizes.push_back(part.size());
      joined += part;
    }
    exchange(partner, std::as_bytes(std::span(sizes)),
             std::as_writable_bytes(std::span(their_sizes)));
    std::uint64_t total = 0;
    for (const std::uint64_t n : their_sizes) total += n;
    theirs.resize(total);
    exchange(partner, std::as_bytes(std::span(joined)), std::as_writable_bytes(std::span(theirs)));
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (const std::uint64_t n : their_sizes) {
      parts.push_back(theirs.substr(begin, n));
      begin += n;
    }
    all.insert(partner < rank() ? all.begin() : all.end(), parts.begin(), parts.end());
  }
  return all;
}

bool Communicator::any(bool mine) {
  double count = mine ? 1 : 0;
  sum(std::span(&count, 1));
  return count > 0;
}

std::string Communicator::difference(const std::string& mine) {
  const std::vector<std::string> all = gather(mine);
  const auto other =
      std::ranges::find_if(all, [&](const std::string& theirs) { return theirs != all[0]; });
  if (other == all.end()) return "";
  return "rank 0 has " + all[0] + ", rank " + std::to_string(other - all.begin()) + " has " +
         *other;
}

}  // namespace dfengine
