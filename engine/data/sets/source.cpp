#include "engine/data/sets/source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "engine/data/pack.h"
#include "engine/data/sets/csv_source.h"
#include "engine/data/sets/folder_source.h"
#include "engine/data/sets/split.h"
#include "engine/data/sets/tar_source.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSplits[] = {"train", "valid", "test"};
constexpr const char* kAll = "all";

struct Part {
  Dataset dataset;
  std::vector<std::string> groups = {};  // of its samples, empty for none
  std::string note = "";                 // text for people, for the layout
};

// A set as it lies there, before it is divided.
struct Found {
  std::string layout;                                  // text for people
  std::vector<std::string> splits;                     // none for a set without splits
  std::string own_name;                                // the split that such a set is, by its name
  std::function<Part(const std::string& split)> open;  // or all
  PassedOver passed_over = {};
};

bool has(const std::vector<std::string>& splits, const std::string& split) {
  return std::ranges::find(splits, split) != splits.end();
}

TableSource open_table(const fs::path& file, const DataOptions& o, const std::string& split = "") {
  const fs::path root = is_table(o.data) ? fs::path() : o.data;
  return read_table_source(file, {root,
                                  ClassNames(o.classes),
                                  o.label_positive,
                                  {.path = o.path_column, .label = o.label_column},
                                  o.group_column,
                                  split});
}

// The samples whose part is `part`, as a data set of that name.
template <class Name>
Dataset select(const Dataset& from, const std::vector<Name>& parts, const Name& part,
               const std::string& split) {
  Dataset selected{.root = from.root, .split = split, .samples = {}, .tars = from.tars};
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (parts[i] == part) selected.samples.push_back(from.samples[i]);
  return selected;
}

Dataset checked(Dataset dataset, const std::string& from) {
  for (int label : {0, 1}) {
    if (dataset.count(label) == 0) {
      throw DataError(fmt::format("{}: split {} holds no {} picture", from, dataset.split,
                                  label == 0 ? "real" : "fake"));
    }
  }
  return dataset;
}

// The splits that fractions make of a set: of all of it or, where it has splits, of train. Throws
// UsageError where one of them is there already.
std::vector<std::string> made_by_fractions(const Found& found, const DataOptions& o) {
  std::vector<std::string> made;
  for (std::size_t i = 0; i < o.fractions.size(); ++i)
    if (o.fractions[i] > 0) made.push_back(kSplits[i]);
  if (made.empty() || found.splits.empty()) return made;
  const bool divides_train = has(found.splits, kSplits[0]);
  for (const std::string& split : made)
    if (!divides_train || (split != kSplits[0] && has(found.splits, split)))
      throw UsageError(fmt::format(
          "{} is divided already ({}): leave out the fractions, or give those of train and of a "
          "split that is missing (.9,.1 for valid)",
          found.layout, fmt::join(found.splits, ", ")));
  return made;
}

// One set divided by the fractions.
class Division {
 public:
  Division(Part whole, const DataOptions& o) : whole_(std::move(whole)) {
    const auto& samples = whole_.dataset.samples;
    const std::vector<std::uint32_t> copies = first_copies(whole_.dataset, ThreadPool::available());
    parts_ = split_samples(samples, whole_.groups, copies, o.fractions, o.seed);
    for (std::size_t i = 0; i < copies.size(); ++i) copied_ += copies[i] != i;
  }

  std::string describe(const DataOptions& o) const {
    return fmt::format("divided {:g} with seed {}{}{}", fmt::join(o.fractions, ":"), o.seed,
                       o.group_column.empty() ? "" : ", by " + o.group_column,
                       copied_ > 0 ? fmt::format("; {} copies of other files", copied_) : "");
  }

  // The first one that is taken names what could not be listed.
  Dataset take(const std::string& split) {
    const auto at = std::ranges::find(kSplits, canonical_split(split)) - kSplits;
    Dataset part = select(whole_.dataset, parts_, static_cast<std::uint8_t>(at), split);
    part.unlisted = std::exchange(whole_.dataset.unlisted, {});
    return part;
  }

 private:
  Part whole_;
  std::vector<std::uint8_t> parts_;
  Index copied_ = 0;
};

// How a split that is missing can be made; "" where it cannot.
std::string way_to(const Found& found, const std::string& split) {
  const std::string name = canonical_split(split);
  const bool missing = (name == "valid" || name == "test") && !has(found.splits, name);
  if (!missing || !has(found.splits, kSplits[0])) return "";
  const char* shares = name == "valid" ? ".9,.1" : ".9,0,.1";
  return fmt::format(
      "; a part of train can be taken for it: train --split {}, the other commands --fractions {} "
      "with that run's --seed",
      shares, shares);
}

// A split as it lies there.
Part open_split(const Found& found, const std::string& split) try {
  return found.open(split);
} catch (const DataError& e) {
  throw DataError(e.what() + way_to(found, split));
} catch (const UsageError& e) {
  throw UsageError(e.what() + way_to(found, split));
}

void require_whole(const Found& found, const std::vector<std::string>& wanted) {
  if (wanted.size() == 1 && (wanted[0] == kAll || canonical_split(wanted[0]) == found.own_name))
    return;
  throw UsageError(fmt::format(
      "{} holds one set without splits: divide it by shares of train, valid and test "
      "(train --split .8,.1,.1, the other commands --fractions .8,.1,.1 with that run's "
      "--seed), or take all of it (eval --split all)",
      found.layout));
}

DataSource assemble(const Found& found, const DataOptions& o, std::vector<std::string> wanted) {
  const bool whole = found.splits.empty();
  const std::vector<std::string> made = made_by_fractions(found, o);
  std::optional<Division> division;
  DataSource source{found.layout, {}, found.passed_over};
  if (!made.empty()) {
    division.emplace(found.open(whole ? kAll : kSplits[0]), o);
    source.layout += (whole ? ", " : ", train ") + division->describe(o);
  } else if (whole) {
    if (wanted.empty()) wanted = {kAll};
    require_whole(found, wanted);
  }
  if (wanted.empty())
    for (const char* split : kSplits)
      if (has(made, split) || has(found.splits, split)) wanted.push_back(split);
  for (const std::string& split : wanted) {
    if (has(made, canonical_split(split))) {
      source.splits.push_back(checked(division->take(split), source.layout));
      continue;
    }
    if (whole && division && split != kAll)
      throw UsageError(fmt::format("split {} has no share in the fractions {:g}", split,
                                   fmt::join(o.fractions, ",")));
    Part part = open_split(found, whole ? kAll : split);
    part.dataset.split = split;
    if (!part.note.empty()) source.layout += (source.splits.empty() ? " " : "; ") + part.note;
    source.splits.push_back(checked(std::move(part.dataset), source.layout));
  }
  return source;
}

// The rows of one split.
Part rows_of(const TableSource& table, const std::string& name, const std::string& split) {
  Part part{select(table.dataset, table.splits, name, split)};
  for (std::size_t i = 0; i < table.groups.size(); ++i)
    if (table.splits[i] == name) part.groups.push_back(table.groups[i]);
  return part;
}

// A table that is named for one split, of which a column may say that rows are of others.
Part open_table_of(const fs::path& file, const DataOptions& o, const std::string& split) {
  TableSource table = open_table(file, o, split);
  const std::string note = fmt::format("{}: {}", file.string(), table.label_rule);
  if (table.splits.empty()) return {std::move(table.dataset), std::move(table.groups), note};
  Part part = rows_of(table, split, split);
  const std::size_t rows = part.dataset.samples.size();
  if (rows == 0)
    throw DataError(
        fmt::format("{} is named for split {}, but its column {} says {} in every row that it has; "
                    "name another table, or rename the column where it means something else",
                    file.string(), split, table.split_column,
                    fmt::join(std::set(table.splits.begin(), table.splits.end()), " or ")));
  part.note = fmt::format("{}, {} of {} rows by its column {}", note, rows,
                          table.dataset.samples.size(), table.split_column);
  return part;
}

// What became of a table for one split.
struct OpenedTable {
  Part part;
  std::exception_ptr fault;  // of one that cannot be opened, for whoever asks for it
};

// One table per split. All are opened, because those that nobody asks for may hold the same
// pictures.
Found find_tables(const DataOptions& o) {
  Found found{"tables", {}, "", {}};
  auto tables = std::make_shared<std::map<std::string, OpenedTable>>();
  std::vector<ApartPictures> apart;
  const fs::path* given[] = {&o.csv, &o.valid_csv, &o.test_csv};
  for (std::size_t i = 0; i < 3; ++i) {
    if (given[i]->empty()) continue;
    found.splits.push_back(kSplits[i]);
    OpenedTable& table = (*tables)[kSplits[i]];
    try {
      table.part = open_table_of(*given[i], o, kSplits[i]);
    } catch (const Error&) {
      table.fault = std::current_exception();
      continue;
    }
    apart.push_back({fmt::format("{} ({})", given[i]->string(), kSplits[i]), {}});
    for (const Sample& sample : table.part.dataset.samples)
      apart.back().paths.push_back(table.part.dataset.path(sample));
  }
  require_apart(apart);
  found.open = [tables, there = found.splits](const std::string& split) {
    const auto table = tables->find(canonical_split(split));
    if (table == tables->end())
      throw UsageError(
          fmt::format("no table for split {}; given: {}", split, fmt::join(there, ", ")));
    if (table->second.fault) std::rethrow_exception(table->second.fault);
    return table->second.part;
  };
  return found;
}

// Rows that may say to which split they belong.
Found find_in(TableSource rows, const fs::path& file, const char* what) {
  auto table = std::make_shared<const TableSource>(std::move(rows));
  Found found{fmt::format("{} {}: {}", what, file.string(), table->label_rule),
              {},
              "",
              {},
              table->passed_over};
  for (const char* split : kSplits)
    if (has(table->splits, split)) found.splits.push_back(split);
  if (!found.splits.empty()) found.layout += ", by its column " + table->split_column;
  found.own_name = canonical_split(file.stem().string());
  found.open = [table, there = found.splits, layout = found.layout](const std::string& split) {
    if (split == kAll) return Part{table->dataset, table->groups};
    const std::string name = canonical_split(split);
    if (!has(there, name))
      throw DataError(
          fmt::format("{} has no row of split {}; it has {}", layout, split,
                      there.empty() ? "none" : fmt::format("{}", fmt::join(there, ", "))));
    return rows_of(*table, name, split);
  };
  return found;
}

Found find_one_table(const fs::path& file, const DataOptions& o) {
  return find_in(open_table(file, o), file, "table");
}

Found find_tars(const DataOptions& o) {
  o.refuse({"--path-column", "--label-column", "--group-column"},
           o.data.string() + " names tars, where no table is read");
  return find_in(
      read_tar_source(o.data, {.names = ClassNames(o.classes), .label_positive = o.label_positive}),
      o.data, "tars");
}

Found find_folders(const DataOptions& o, const std::string& wanted) {
  const ClassNames names(o.classes);
  if (auto tree = FolderSet::find(o.data, names, wanted)) {
    o.refuse({"--label-positive", "--path-column", "--label-column", "--group-column"},
             o.data.string() + " is a folder of pictures, where no table is read");
    const auto set = std::make_shared<const FolderSet>(std::move(*tree));
    return {set->layout(), set->splits(), set->own_name(),
            [set](const std::string& split) {
              return Part{split == kAll ? set->all() : set->split(split)};
            },
            set->passed_over()};
  }
  if (const auto tables = with_tables_inside(o)) return find_tables(*tables);
  if (holds_tars(o.data)) return find_tars(o);
  throw DataError(fmt::format(
      "{} holds neither train/, valid/ and test/ nor {}/ and {}/ (nor the folders up to two levels "
      "down), nor train.csv, nor tars alone; other names of classes: --classes REAL,FAKE",
      o.data.string(), names.example(0), names.example(1)));
}

Found find_set(const DataOptions& o, const std::string& wanted) {
  if (is_table(o.data))
    o.refuse({"--csv", "--valid-csv", "--test-csv"},
             o.data.string() + " is a table, which --csv names where there are others");
  if (!o.valid_csv.empty() || !o.test_csv.empty()) return find_tables(o);
  if (!o.csv.empty()) return find_one_table(o.csv, o);
  if (is_table(o.data)) return find_one_table(o.data, o);
  if (names_tars(o.data)) return find_tars(o);
  return find_folders(o, wanted);
}

DataSource open_packed(const DataOptions& o, const std::vector<std::string>& wanted) {
  o.refuse({"--csv", "--valid-csv", "--test-csv", "--classes", "--label-positive", "--fractions",
            "--path-column", "--label-column", "--group-column"},
           o.data.string() + " is a packed file with splits and labels of its own");
  DataSource source{"packed file " + o.data.string(), open_pack(o.data, wanted), {}};
  for (Dataset& split : source.splits) split = checked(std::move(split), source.layout);
  return source;
}

}  // namespace

bool is_table(const fs::path& file) {
  const std::string ending = lower_case(file.extension().string());
  return ending == ".csv" || ending == ".tsv";
}

std::string DataSource::describe() const {
  std::string text = "data: " + layout;
  for (const Dataset& d : splits)
    text += fmt::format(
        "\n  {}: {} real + {} fake{}", d.split, d.count(0), d.count(1),
        d.unlisted.empty() ? "" : fmt::format("; {} could not be listed", d.unlisted.size()));
  const std::string others = dfengine::describe(passed_over);
  return others.empty() ? text : text + "\n  " + others;
}

std::optional<DataOptions> with_tables_inside(const DataOptions& o) {
  std::map<std::string, fs::path> tables;
  std::error_code error;
  for (fs::directory_iterator it(o.data, error), end; !error && it != end; it.increment(error)) {
    const fs::path& file = it->path();
    const std::string split = canonical_split(file.stem().string());
    if (!is_table(file) || std::ranges::find(kSplits, split) == std::end(kSplits)) continue;
    const auto [at, is_new] = tables.try_emplace(split, file);
    if (!is_new)
      throw UsageError(
          fmt::format("{} and {} may both be the table of {}: name it (--csv, "
                      "--valid-csv, --test-csv)",
                      at->second.string(), file.string(), split));
  }
  if (tables.empty()) return std::nullopt;
  DataOptions named = o;
  for (const auto& [split, place] : {std::pair{"train", &DataOptions::csv},
                                     {"valid", &DataOptions::valid_csv},
                                     {"test", &DataOptions::test_csv}})
    if ((named.*place).empty() && tables.contains(split)) named.*place = tables.at(split);
  return named;
}

DataSource open_data(const DataOptions& o, const std::vector<std::string>& wanted) {
  o.validate();
  if (is_pack(o.data)) return open_packed(o, wanted);
  const std::string one = wanted.size() == 1 && wanted[0] != kAll ? wanted[0] : "";
  return assemble(find_set(o, one), o, wanted);
}

DataSource open_to_measure(const DataOptions& o) {
  o.validate();
  const std::string test = "test";
  if (is_pack(o.data)) {
    const std::vector<Dataset> there = open_pack(o.data, {});
    const bool whole = there.size() == 1 && there[0].split == kAll;
    return open_packed(o, {whole ? kAll : test});
  }
  const Found found = find_set(o, "");
  return assemble(found, o, {found.splits.empty() && o.fractions.empty() ? kAll : test});
}

}  // namespace dfengine
