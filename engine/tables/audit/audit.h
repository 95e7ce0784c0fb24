// Looks at a labelled set before anything is trained on it: counts, copies, and what gives the
// label away without the picture.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/data/sets/source.h"
#include "engine/tables/audit/separation.h"

namespace dfengine::audit {

// A column of a table, or a property of the files.
struct Property {
  std::string name;
  bool of_table = false;
  Separation separation;
};

struct SplitCount {
  std::string split;
  Index real = 0, fake = 0;
};

// Files with the same bytes.
struct Copies {
  std::vector<std::string> files;  // split and path
  bool across_splits = false;
  bool across_labels = false;
};

// One value of a property that many files share.
struct Share {
  std::string property, value;
  Index real = 0, fake = 0;
};

struct Audit {
  std::string layout;
  std::vector<SplitCount> splits;
  std::vector<Share> shares;   // the commonest formats, dimensions, quantisation tables and so on
  std::vector<Copies> copies;  // first those with different labels, then those across splits
  std::vector<Property> properties;  // the one that separates best comes first
  std::vector<BadFile> bad_files;    // bad by header or listing, since nothing was decoded

  Index pictures() const;
  Index leaks() const;
};

// Reads listings, tables and the first bytes of each file; files that share their size are hashed.
// The tables are those of `options`, else train.csv, valid.csv, val.csv and test.csv in
// options.data; one beside folders of pictures that cannot be read is named in the layout. Throws
// as open_data does.
Audit audit(const DataOptions& options, int threads);

nlohmann::json to_json(const Audit& audit);
// Text for a terminal.
std::string to_text(const Audit& audit);
// One HTML page.
std::string to_html(const Audit& audit);

}  // namespace dfengine::audit
