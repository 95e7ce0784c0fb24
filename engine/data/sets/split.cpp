#include "engine/data/sets/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>

#include "engine/data/pictures/image.h"
#include "engine/data/sets/table_paths.h"
#include "engine/data/tar.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/base/sha256.h"
#include "kernels/base/thread_pool.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

// Empty where the file cannot be read or has not that size.
std::string content_hash(const fs::path& file, std::uintmax_t size) {
  if (size > kMaxImageFileBytes) return "";
  std::ifstream stream(file, std::ios::binary);
  std::vector<std::byte> bytes(size);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  return stream ? sha256_hex(bytes) : "";
}

// Sets of samples that must stay together (union-find with path halving).
class Together {
 public:
  explicit Together(std::size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0u); }
  std::uint32_t find(std::uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(std::uint32_t a, std::uint32_t b) { parent_[find(a)] = find(b); }

 private:
  std::vector<std::uint32_t> parent_;
};

struct Cluster {
  std::vector<std::uint32_t> members;
  std::array<Index, 2> count{};  // by label
  std::uint64_t key = 0;         // random, from the seed and the first path
};

// FNV-1a, 64 bits: a number for a path that is the same on every machine.
std::uint64_t path_number(std::string_view path) {
  std::uint64_t hash = 14695981039346656037u;
  for (char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

std::vector<Cluster> clusters_of(std::span<const Sample> samples, Together& together,
                                 std::uint64_t seed) {
  std::vector<Cluster> clusters;
  std::unordered_map<std::uint32_t, std::size_t> place;
  for (std::uint32_t i = 0; i < samples.size(); ++i) {
    const auto [at, is_new] = place.try_emplace(together.find(i), clusters.size());
    if (is_new) clusters.emplace_back();
    Cluster& c = clusters[at->second];
    c.members.push_back(i);
    ++c.count[samples[i].label == 1];
  }
  for (Cluster& c : clusters) {
    const auto first = std::ranges::min_element(
        c.members, [&](auto a, auto b) { return samples[a].relative < samples[b].relative; });
    const auto words = philox(seed, RandomStream::Split, path_number(samples[*first].relative), 0);
    c.key = std::uint64_t{words[0]} << 32 | words[1];
  }
  // Large ones first, while there is room for them everywhere.
  std::ranges::sort(clusters, [&](const Cluster& a, const Cluster& b) {
    if (a.members.size() != b.members.size()) return a.members.size() > b.members.size();
    if (a.key != b.key) return a.key < b.key;
    return samples[a.members[0]].relative < samples[b.members[0]].relative;
  });
  return clusters;
}

}  // namespace

namespace {

// sizes [n]: 0 where there is nothing to compare. hash(i) is called where a size is not alone.
std::vector<std::uint32_t> first_alike(const std::vector<std::uintmax_t>& sizes,
                                       const std::function<std::string(std::size_t)>& hash,
                                       int threads) {
  const std::size_t n = sizes.size();
  std::vector<std::uint32_t> first(n);
  std::iota(first.begin(), first.end(), 0u);
  std::unordered_map<std::uintmax_t, std::uint32_t> of_size;
  for (const std::uintmax_t size : sizes)
    if (size > 0) ++of_size[size];
  std::vector<std::string> hashes(n);
  ThreadPool pool(threads);
  parallel_for(pool, static_cast<std::int64_t>(n), [&](std::int64_t index, int) {
    const auto i = static_cast<std::size_t>(index);
    if (sizes[i] > 0 && of_size.at(sizes[i]) > 1) hashes[i] = hash(i);
  });
  std::unordered_map<std::string_view, std::uint32_t> seen;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (!hashes[i].empty()) first[i] = seen.try_emplace(hashes[i], i).first->second;
  }
  return first;
}

}  // namespace

std::vector<std::uint32_t> first_copies(std::size_t n,
                                        const std::function<fs::path(std::size_t)>& path,
                                        int threads) {
  std::vector<std::uintmax_t> sizes(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::error_code error;
    sizes[i] = fs::is_regular_file(path(i), error) ? fs::file_size(path(i), error) : 0;
    if (error) sizes[i] = 0;
  }
  return first_alike(
      sizes, [&](std::size_t i) { return content_hash(path(i), sizes[i]); }, threads);
}

std::vector<std::uint32_t> first_copies(const Dataset& dataset, int threads) {
  const std::vector<Sample>& samples = dataset.samples;
  if (!dataset.tars)
    return first_copies(
        samples.size(), [&](std::size_t i) { return dataset.path(samples[i]); }, threads);
  std::vector<std::uintmax_t> sizes;
  for (const Sample& sample : samples) sizes.push_back(dataset.tars->entry(sample.record).bytes);
  const auto hash = [&](std::size_t i) -> std::string {
    std::vector<std::byte> bytes;
    try {
      dataset.tars->read(samples[i].record, bytes);
    } catch (const DataError&) {
      return "";  // equals no other
    }
    return sha256_hex(bytes);
  };
  return first_alike(sizes, hash, threads);
}

std::vector<std::uint8_t> split_samples(std::span<const Sample> samples,
                                        std::span<const std::string> groups,
                                        std::span<const std::uint32_t> copies,
                                        std::span<const double> fractions, std::uint64_t seed) {
  Together together(samples.size());
  std::unordered_map<std::string_view, std::uint32_t> first_of_group;
  std::array<double, 2> total{};
  for (std::uint32_t i = 0; i < samples.size(); ++i) {
    ++total[samples[i].label == 1];
    together.join(i, copies[i]);
    if (groups.empty() || groups[i].empty()) continue;
    together.join(i, first_of_group.try_emplace(groups[i], i).first->second);
  }
  const double whole = std::accumulate(fractions.begin(), fractions.end(), 0.0);
  // What each part still lacks, by label.
  std::vector<std::array<double, 2>> lack;
  for (double f : fractions) lack.push_back({f / whole * total[0], f / whole * total[1]});
  std::vector<std::uint8_t> part(samples.size());
  for (const Cluster& c : clusters_of(samples, together, seed)) {
    std::size_t best = 0;
    double most = -std::numeric_limits<double>::infinity();
    for (std::size_t p = 0; p < lack.size(); ++p) {
      // Relative to the class, so that a rare class counts as much as a common one.
      double need = 0;
      for (std::size_t label : {0u, 1u}) {
        const auto n = static_cast<double>(c.count[label]);
        if (n > 0) need += n * lack[p][label] / total[label];
      }
      if (fractions[p] > 0 && need > most) {
        most = need;
        best = p;
      }
    }
    for (std::size_t label : {0u, 1u}) lack[best][label] -= static_cast<double>(c.count[label]);
    for (std::uint32_t i : c.members) part[i] = static_cast<std::uint8_t>(best);
  }
  return part;
}

namespace {

bool is_there(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

}  // namespace

void require_apart(std::span<const ApartPictures> parts) {
  std::unordered_map<std::string, std::size_t> holder;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    std::map<std::size_t, std::set<std::string>> shared;  // by the part that holds them, too
    for (const fs::path& path : parts[p].paths) {
      std::string picture = in_one_form(fs::absolute(path).string());
      const std::size_t first = holder.try_emplace(picture, p).first->second;
      if (first != p && is_there(picture)) shared[first].insert(std::move(picture));
    }
    if (shared.empty()) continue;
    const auto& [other, pictures] = *shared.begin();
    const std::size_t more = pictures.size() - 1;
    throw UsageError(fmt::format(
        "{} and {} both name {}{}: figures on pictures that training saw, or that chose a "
        "threshold, are better than on new ones. Leave them out of one of the two",
        parts[other].name, parts[p].name, *pictures.begin(),
        more > 0 ? fmt::format(" and {} more", more) : ""));
  }
}

}  // namespace dfengine
