// The options that name data, one row each.
#include <algorithm>
#include <numeric>

#include "engine/data/option_json.h"
#include "engine/data/pack.h"
#include "engine/data/sets/class_names.h"
#include "engine/data/sets/source.h"

namespace dfengine {
namespace {

using Options = DataOptions;

bool are_shares(const std::vector<double>& shares) {
  const bool in_range = std::ranges::all_of(shares, [](double s) { return s >= 0 && s <= 1e6; });
  return shares.empty() || ((shares.size() == 2 || shares.size() == 3) && in_range &&
                            std::accumulate(shares.begin(), shares.end(), 0.0) > 0);
}

constexpr DataOption kRows[] = {
    {.flag = "--data",
     .key = "data",
     .place = &Options::data,
     .help = "Folder of pictures, packed file or tars (see below). With tables: the folder that "
             "their paths begin at.",
     .usual = "none; with tables each table's own folder"},
    {.flag = "--csv",
     .key = "csv",
     .place = &Options::csv,
     .help = "Table of pictures (see below). With --valid-csv and --test-csv: that of the "
             "training pictures, or where it has a column split its rows of train.",
     .usual = "none"},
    {.flag = "--valid-csv",
     .key = "valid_csv",
     .place = &Options::valid_csv,
     .help = "Table of the validation pictures, or where it has a column split its rows of valid.",
     .usual = "none"},
    {.flag = "--test-csv",
     .key = "test_csv",
     .place = &Options::test_csv,
     .help = "Table of the test pictures, or where it has a column split its rows of test.",
     .usual = "none"},
    {.flag = "--classes",
     .key = "classes",
     .place = &Options::classes,
     .help =
         "REAL,FAKE: the names of the two classes, in any case, as folders and labels have them.",
     .usual = "the usual ones, see below"},
    {.flag = "--label-positive",
     .key = "label_positive",
     .place = &Options::label_positive,
     .help =
         "What a table's label 1 means where neither label_str nor a folder says it. True is 1.",
     .allowed = "real or fake",
     .accepts =
         [](const Options& o) {
           return o.label_positive.empty() || o.label_positive == "real" ||
                  o.label_positive == "fake";
         },
     .usual = "none, such a table is refused"},
    {.flag = "--fractions",
     .key = "fractions",
     .place = &Options::fractions,
     .help = "Shares of train, valid and test, such as .8,.1,.1, by which a set without splits is "
             "divided, drawn by --seed. Copies of one file stay together. A set that has train but "
             "lacks others gets those: .9,.1 takes valid from train.",
     .allowed = "two or three numbers from 0 to 1000000, not all 0",
     .accepts = [](const Options& o) { return are_shares(o.fractions); },
     .usual = "none, the set is not divided"},
    {.flag = "--path-column",
     .key = "path_column",
     .place = &Options::path_column,
     .help = "The column of a table that holds the pictures' paths.",
     .usual = "path, or another usual name such as filename or image",
     .added_later = true},
    {.flag = "--label-column",
     .key = "label_column",
     .place = &Options::label_column,
     .help = "The column of a table that holds the labels.",
     .usual = "label, or another usual name such as class or target",
     .added_later = true},
    {.flag = "--group-column",
     .key = "group_column",
     .place = &Options::group_column,
     .help = "A column of the table: when the set is divided, rows with the same value stay "
             "together.",
     .usual = "none"},
    {.flag = "--seed",
     .key = "seed",
     .place = &Options::seed,
     .help = "The seed by which a set is divided: that of the training run."},
    {.flag = "--on-bad",
     .key = "on_bad",
     .place = &Options::on_bad,
     .help = "What becomes of pictures that cannot be read: skip leaves them out and lists them, "
             "fail stops at the first."}};

}  // namespace

std::span<const DataOption> data_options() {
  return kRows;
}

void DataOptions::move_to(const std::filesystem::path& place) {
  if (place.empty()) return;
  if (is_pack(place)) {
    DataOptions kept;
    kept.seed = seed;
    kept.on_bad = on_bad;
    *this = kept;
  }
  data = place;
}

void DataOptions::validate() const {
  if (!has_source()) throw UsageError("no data is named: --data DIR or --csv FILE");
  check_options(kRows, *this);
  (void)ClassNames(classes);
}

void DataOptions::refuse(std::initializer_list<std::string_view> flags,
                         const std::string& set) const {
  const Options usual;
  std::string given;
  for (const DataOption& row : kRows) {
    if (std::ranges::find(flags, row.name()) == flags.end()) continue;
    const bool is_usual =
        std::visit([&](auto place) { return this->*place == usual.*place; }, row.place);
    if (is_usual) continue;
    given += (given.empty() ? "" : ", ") + row.name();
    if (row.name() == "--fractions") given += " (train --split)";
    if (row.name() == "--group-column") given += " (eval --by)";
  }
  if (!given.empty()) throw UsageError(set + ": leave out " + given);
}

void make_absolute(DataOptions& o) {
  for (std::filesystem::path* path : {&o.data, &o.csv, &o.valid_csv, &o.test_csv})
    if (!path->empty()) *path = std::filesystem::absolute(*path);
}

nlohmann::json to_json(const DataOptions& options) {
  nlohmann::json json;
  write_options(kRows, options, json);
  return json;
}

DataOptions data_options_from_json(const nlohmann::json& json) {
  DataOptions options;
  read_options(kRows, json, options);
  return options;
}

}  // namespace dfengine
