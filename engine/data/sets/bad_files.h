// The pictures that were left out of a run because they cannot be read. Each is named once, with
// its reason.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/data/sets/dataset.h"

namespace dfengine {

class BadFiles {
 public:
  BadFiles() = default;
  // Goes on from the files of an earlier part of the run.
  explicit BadFiles(std::vector<BadFile> known);

  // Adds what was set aside when the data set was listed.
  void add_unlisted(const Dataset& dataset);
  // Adds sample `index` of the data set. Throws DataError once more than half of a split's
  // pictures, or all of a class, are bad: such a split says nothing.
  void add(const Dataset& dataset, std::uint32_t index, const std::string& reason);

  // In the order in which they were met.
  const std::vector<BadFile>& list() const { return list_; }
  // A table with the columns split, path and reason.
  std::string csv() const;

 private:
  struct Tally {
    std::array<Index, 2> total{};  // by label
    std::set<std::uint32_t> bad;
    std::array<Index, 2> bad_count{};
  };

  void note(BadFile file);

  std::vector<BadFile> list_;
  std::set<std::pair<std::string, std::string>> known_;  // split and path
  std::map<std::string, Tally> tallies_;                 // by split
};

}  // namespace dfengine
