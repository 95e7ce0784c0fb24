#include "engine/data/sets/source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/data/pack.h"
#include "engine/data/sets/csv_source.h"
#include "engine/data/sets/folder_source.h"
#include "engine/data/sets/split.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace dfengine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSplits[] = {"train", "valid", "test"};
constexpr const char* kAll = "all";

// The set without splits, and the groups of its samples.
struct Whole {
  Dataset dataset;
  std::vector<std::string> groups;
  std::string layout;
};

std::string canonical(const std::string& split) {
  return split == "val" || split == "validation" ? "valid" : split;
}

TableSource open_table(const fs::path& file, const DataOptions& o) {
  const bool is_root = o.data.extension() != ".csv";
  return read_table_source(file, {is_root ? o.data : fs::path(), ClassNames(o.classes),
                                  o.label_positive, o.group_column});
}

// The samples whose part is `part`, as a data set of that name.
template <class Part>
Dataset select(const Dataset& from, const std::vector<Part>& parts, const Part& part,
               const std::string& split) {
  Dataset selected{from.root, split, {}, {}};
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

std::vector<std::string> or_all(const std::vector<std::string>& wanted,
                                const std::vector<std::string>& there) {
  return wanted.empty() ? there : wanted;
}

DataSource open_folders(const FolderTree& tree, const DataOptions& o,
                        const std::vector<std::string>& wanted) {
  if (!o.fractions.empty()) {
    throw UsageError(tree.root.string() + " is divided already (" +
                     fmt::format("{}", fmt::join(splits_in(tree.root), ", ")) +
                     "): leave out the fractions");
  }
  DataSource source{fmt::format("folders {}/SPLIT/CLASS", tree.root.string()), {}};
  for (const std::string& split : or_all(wanted, splits_in(tree.root)))
    source.splits.push_back(scan_split(tree.root, split, ClassNames(o.classes)));
  return source;
}

// One table per split.
DataSource open_tables(const DataOptions& o, const std::vector<std::string>& wanted) {
  const fs::path* files[] = {&o.csv, &o.valid_csv, &o.test_csv};
  std::vector<std::string> there;
  for (std::size_t i = 0; i < 3; ++i)
    if (!files[i]->empty()) there.push_back(kSplits[i]);
  if (!o.fractions.empty())
    throw UsageError("a table for each split and fractions exclude each other");
  DataSource source{"tables", {}};
  for (const std::string& split : or_all(wanted, there)) {
    const auto at = std::ranges::find(kSplits, canonical(split)) - kSplits;
    if (at == 3 || files[at]->empty()) {
      throw UsageError(
          fmt::format("no table for split {}; given: {}", split, fmt::join(there, ", ")));
    }
    TableSource table = open_table(*files[at], o);
    table.dataset.split = split;
    source.layout += fmt::format("{} {}: {}", source.splits.empty() ? "" : ";", files[at]->string(),
                                 table.label_rule);
    source.splits.push_back(checked(std::move(table.dataset), files[at]->string()));
  }
  return source;
}

DataSource divide(Whole whole, const DataOptions& o, const std::vector<std::string>& wanted) {
  const auto& samples = whole.dataset.samples;
  const std::vector<std::uint32_t> copies = first_copies(
      samples.size(), [&](std::size_t i) { return whole.dataset.path(samples[i]); },
      ThreadPool::available());
  const std::vector<std::uint8_t> parts =
      split_samples(samples, whole.groups, copies, o.fractions, o.seed);
  std::vector<std::string> there;
  for (std::size_t i = 0; i < o.fractions.size(); ++i)
    if (o.fractions[i] > 0) there.push_back(kSplits[i]);
  Index copied = 0;
  for (std::size_t i = 0; i < copies.size(); ++i) copied += copies[i] != i;
  DataSource source{
      fmt::format("{}, divided {:g} with seed {}{}{}", whole.layout, fmt::join(o.fractions, ":"),
                  o.seed, o.group_column.empty() ? "" : ", by " + o.group_column,
                  copied > 0 ? fmt::format("; {} copies of other files", copied) : ""),
      {}};
  for (const std::string& split : or_all(wanted, there)) {
    if (std::ranges::find(there, canonical(split)) == there.end()) {
      throw UsageError(fmt::format("split {} has no share in the fractions {:g}", split,
                                   fmt::join(o.fractions, ",")));
    }
    const auto at = std::ranges::find(kSplits, canonical(split)) - kSplits;
    source.splits.push_back(
        checked(select(whole.dataset, parts, static_cast<std::uint8_t>(at), split), whole.layout));
  }
  if (!source.splits.empty()) source.splits.front().unlisted = std::move(whole.dataset.unlisted);
  return source;
}

DataSource open_whole(Whole whole, const DataOptions& o, const std::vector<std::string>& wanted,
                      const std::string& own_name) {
  if (!o.fractions.empty()) return divide(std::move(whole), o, wanted);
  const std::string split = wanted.empty() ? kAll : wanted.front();
  if (wanted.size() > 1 || (split != kAll && canonical(split) != own_name)) {
    throw UsageError(
        fmt::format("{} holds one set without splits: give the fractions of train, valid and test "
                    "(.8,.1,.1), or ask for split all",
                    whole.layout));
  }
  whole.dataset.split = split;
  DataSource source{whole.layout, {}};
  source.splits.push_back(checked(std::move(whole.dataset), source.layout));
  return source;
}

DataSource open_one_table(const fs::path& file, const DataOptions& o,
                          const std::vector<std::string>& wanted) {
  TableSource table = open_table(file, o);
  const std::string layout = fmt::format("table {}: {}", file.string(), table.label_rule);
  if (table.splits.empty() || !o.fractions.empty() || (wanted.size() == 1 && wanted[0] == kAll)) {
    return open_whole({std::move(table.dataset), std::move(table.groups), layout}, o, wanted,
                      canonical(file.stem().string()));
  }
  std::vector<std::string> there;
  for (const char* split : kSplits)
    if (std::ranges::find(table.splits, split) != table.splits.end()) there.push_back(split);
  DataSource source{layout + ", by its column split", {}};
  for (const std::string& split : or_all(wanted, there))
    source.splits.push_back(
        checked(select(table.dataset, table.splits, canonical(split), split), file.string()));
  return source;
}

// The options as if the tables that lie in the folder had been named; nothing where there are none.
std::optional<DataOptions> with_tables_inside(const DataOptions& o) {
  DataOptions named = o;
  const auto find = [&](std::initializer_list<const char*> names, fs::path& table) {
    std::error_code ignored;
    for (const char* name : names)
      if (table.empty() && fs::is_regular_file(o.data / name, ignored)) table = o.data / name;
  };
  find({"train.csv"}, named.csv);
  find({"valid.csv", "val.csv"}, named.valid_csv);
  find({"test.csv"}, named.test_csv);
  if (named.csv.empty() && named.valid_csv.empty() && named.test_csv.empty()) return std::nullopt;
  return named;
}

DataSource open_folder(const DataOptions& o, const std::vector<std::string>& wanted) {
  if (!o.group_column.empty())
    throw UsageError("--group-column names a column of a table; " + o.data.string() +
                     " is a folder");
  const ClassNames names(o.classes);
  const bool one = wanted.size() == 1 && wanted[0] != kAll;
  if (const auto tree = find_tree(o.data, names, one ? wanted[0] : "")) {
    if (tree->has_splits) return open_folders(*tree, o, wanted);
    return open_whole(
        {scan_classes(tree->root, names), {}, fmt::format("folders {}/CLASS", tree->root.string())},
        o, wanted, kAll);
  }
  if (const auto tables = with_tables_inside(o)) return open_tables(*tables, wanted);
  throw DataError(fmt::format(
      "{} holds neither train/, valid/ and test/ nor {}/ and {}/ (nor the folders up to two levels "
      "down), nor train.csv; other names of classes: --classes REAL,FAKE",
      o.data.string(), names.of(0).front(), names.of(1).front()));
}

DataSource open_packed(const DataOptions& o, const std::vector<std::string>& wanted) {
  if (!o.fractions.empty() || !o.csv.empty()) {
    throw UsageError(o.data.string() + " has its own splits and labels: no table, no fractions");
  }
  DataSource source{"packed file " + o.data.string(), open_pack(o.data, wanted)};
  for (Dataset& split : source.splits) split = checked(std::move(split), source.layout);
  return source;
}

}  // namespace

std::string DataSource::describe() const {
  std::string text = "data: " + layout;
  for (const Dataset& d : splits)
    text += fmt::format(
        "\n  {}: {} real + {} fake{}", d.split, d.count(0), d.count(1),
        d.unlisted.empty() ? "" : fmt::format("; {} could not be listed", d.unlisted.size()));
  return text;
}

DataSource open_data(const DataOptions& o, const std::vector<std::string>& wanted) {
  o.validate();
  if (is_pack(o.data)) return open_packed(o, wanted);
  if (!o.valid_csv.empty() || !o.test_csv.empty()) return open_tables(o, wanted);
  if (!o.csv.empty()) return open_one_table(o.csv, o, wanted);
  if (o.data.extension() == ".csv") return open_one_table(o.data, o, wanted);
  return open_folder(o, wanted);
}

}  // namespace dfengine
