#include "engine/tables/audit/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "engine/data/pictures/file_properties.h"
#include "engine/data/sets/csv_source.h"
#include "engine/data/sets/split.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace dfengine::audit {
namespace {

namespace fs = std::filesystem;

// All samples of all splits, in order.
struct Pictures {
  explicit Pictures(const DataSource& source) {
    for (const Dataset& split : source.splits)
      for (const Sample& sample : split.samples) {
        dataset.push_back(&split);
        samples.push_back(&sample);
        label.push_back(sample.label);
      }
  }
  fs::path path(std::size_t i) const { return dataset[i]->path(*samples[i]); }
  std::string name(std::size_t i) const { return dataset[i]->split + ": " + samples[i]->relative; }
  std::size_t size() const { return samples.size(); }

  std::vector<const Dataset*> dataset;
  std::vector<const Sample*> samples;
  std::vector<int> label;
};

std::vector<Copies> find_copies(const Pictures& pictures, int threads) {
  const std::vector<std::uint32_t> first = first_copies(
      pictures.size(), [&](std::size_t i) { return pictures.path(i); }, threads);
  std::map<std::uint32_t, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < first.size(); ++i)
    if (first[i] != i) groups[first[i]].push_back(i);
  std::vector<Copies> found;
  for (const auto& [original, others] : groups) {
    Copies c;
    c.files.push_back(pictures.name(original));
    for (const std::size_t i : others) {
      c.files.push_back(pictures.name(i));
      c.across_splits |= pictures.dataset[i] != pictures.dataset[original];
      c.across_labels |= pictures.label[i] != pictures.label[original];
    }
    found.push_back(std::move(c));
  }
  // What must be mended comes first.
  std::ranges::stable_sort(found, [](const Copies& a, const Copies& b) {
    return std::pair(a.across_labels, a.across_splits) >
           std::pair(b.across_labels, b.across_splits);
  });
  return found;
}

// The values that most files have, each with its counts.
void add_shares(const std::string& property, const std::vector<std::string>& values,
                const std::vector<int>& label, std::vector<Share>& shares) {
  constexpr std::size_t kMost = 5;
  std::map<std::string, Share> by_value;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Share& s = by_value.try_emplace(values[i], Share{property, values[i], 0, 0}).first->second;
    ++(label[i] == 1 ? s.fake : s.real);
  }
  std::vector<Share> commonest;
  for (auto& [value, share] : by_value) commonest.push_back(std::move(share));
  std::ranges::stable_sort(
      commonest, [](const Share& a, const Share& b) { return a.real + a.fake > b.real + b.fake; });
  if (commonest.size() > kMost) commonest.resize(kMost);
  shares.insert(shares.end(), commonest.begin(), commonest.end());
}

// Properties of the files, each as one value per picture.
class FileAudit {
 public:
  FileAudit(const Pictures& pictures, int threads, Audit& audit)
      : pictures_(pictures), audit_(audit), files_(pictures.size()) {
    ThreadPool pool(threads);
    parallel_for(pool, static_cast<std::int64_t>(files_.size()), [&](std::int64_t i, int) {
      const auto at = static_cast<std::size_t>(i);
      files_[at] = read_file_properties(pictures_.path(at));
    });
    for (std::size_t i = 0; i < files_.size(); ++i) {
      std::string error = files_[i].error;
      if (error.empty()) error = why_not_read(files_[i].format);
      if (!error.empty())
        audit_.bad_files.push_back(
            {pictures_.dataset[i]->split, pictures_.samples[i]->relative, error});
    }
  }

  void run() {
    number("file size", [](const FileProperties& f) { return static_cast<double>(f.bytes); });
    number("width", [](const FileProperties& f) { return side(f.w); });
    number("height", [](const FileProperties& f) { return side(f.h); });
    text("dimensions", [](const FileProperties& f) {
      return f.w > 0 && f.h > 0 ? fmt::format("{} x {}", f.w, f.h) : "unknown";
    });
    text("format", [](const FileProperties& f) {
      return std::string(f.format.name.empty() ? "unknown" : f.format.name);
    });
    jpeg_text("JPEG quantisation table",
              [](const JpegHeader& j) { return fmt::format("{:08x}", j.quantisation_id()); });
    jpeg_number("JPEG quantisation, sum of luma steps",
                [](const JpegHeader& j) { return static_cast<double>(j.quantisation_sum(0)); });
    jpeg_number("JPEG quantisation, sum of chroma steps",
                [](const JpegHeader& j) { return static_cast<double>(j.quantisation_sum(1)); });
    jpeg_text("JPEG chroma subsampling", [](const JpegHeader& j) {
      return j.components == 1 ? std::string("gray")
                               : fmt::format("{} x {}", j.chroma_across, j.chroma_down);
    });
    jpeg_text("JPEG coding", [](const JpegHeader& j) {
      return std::string(j.progressive ? "progressive" : "baseline");
    });
    text("EXIF", [](const FileProperties& f) {
      return std::string(!f.exif ? "unknown" : *f.exif ? "present" : "absent");
    });
    names();
  }

 private:
  static double side(Index pixels) {
    return pixels > 0 ? static_cast<double>(pixels) : std::numeric_limits<double>::quiet_NaN();
  }

  template <class Take>
  void number(const std::string& name, Take take) {
    std::vector<double> values;
    for (const FileProperties& f : files_) values.push_back(take(f));
    audit_.properties.push_back({name, false, separate(values, pictures_.label)});
  }

  template <class Take>
  void text(const std::string& name, Take take) {
    std::vector<std::string> values;
    for (const FileProperties& f : files_) values.push_back(take(f));
    audit_.properties.push_back({name, false, separate(values, pictures_.label)});
    add_shares(name, values, pictures_.label, audit_.shares);
  }

  template <class Take>
  void jpeg_number(const std::string& name, Take take) {
    number(name, [&](const FileProperties& f) {
      return f.jpeg ? take(*f.jpeg) : std::numeric_limits<double>::quiet_NaN();
    });
  }

  template <class Take>
  void jpeg_text(const std::string& name, Take take) {
    text(name, [&](const FileProperties& f) {
      return f.jpeg ? take(*f.jpeg) : std::string(f.format.name == "JPEG" ? "unknown" : "none");
    });
  }

  // Of the file alone: the folders above it are the classes themselves.
  void names() {
    std::vector<std::string> stems, extensions;
    for (const Sample* s : pictures_.samples) {
      const fs::path path(s->relative);
      stems.push_back(path.stem().string());
      extensions.push_back(path.extension().string());
    }
    audit_.properties.push_back({"file name", false, separate(stems, pictures_.label)});
    audit_.properties.push_back({"extension", false, separate(extensions, pictures_.label)});
    add_shares("extension", extensions, pictures_.label, audit_.shares);
  }

  const Pictures& pictures_;
  Audit& audit_;
  std::vector<FileProperties> files_;
};

std::vector<fs::path> tables_of(const DataOptions& o) {
  std::vector<fs::path> tables;
  for (const fs::path& table : {o.csv, o.valid_csv, o.test_csv})
    if (!table.empty()) tables.push_back(table);
  if (!tables.empty()) return tables;
  if (is_table(o.data)) return {o.data};
  const std::optional<DataOptions> inside = with_tables_inside(o);
  return inside ? tables_of(*inside) : tables;
}

// The fields of each column of all tables, one below the other, with the labels of their rows.
class TableAudit {
 public:
  explicit TableAudit(const DataOptions& options) : options_(options) {}

  // All columns but the label.
  void add(const fs::path& file) {
    const CsvTable table = read_csv(file);
    const ColumnNames names = {.path = options_.path_column, .label = options_.label_column};
    std::string rule;
    const std::vector<int> label = table_labels(table, file.string(), ClassNames(options_.classes),
                                                options_.label_positive, names, rule);
    const std::size_t label_at = label_column(table, names, file.string());
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (c == label_at) continue;
      Column& column = columns_[table.columns[c]];
      for (const auto& row : table.rows) column.fields.push_back(row[c]);
      column.label.insert(column.label.end(), label.begin(), label.end());
    }
  }

  void finish(Audit& audit) const {
    for (const auto& [name, column] : columns_)
      audit.properties.push_back({name.empty() ? "(column without a name)" : name, true,
                                  separate(column.fields, column.label)});
  }

 private:
  struct Column {
    std::vector<std::string> fields;
    std::vector<int> label;
  };

  const DataOptions& options_;
  std::map<std::string, Column> columns_;
};

// A set of tables could not have been opened if one of them were at fault, but in a folder of
// pictures tables lie that nobody has read.
void audit_tables(const DataOptions& options, Audit& audit) {
  TableAudit columns(options);
  const auto attempt = [&](const fs::path& what, const auto& look) {
    try {
      look();
    } catch (const Error& e) {
      audit.layout += fmt::format("; {} was not looked at: {}", what.filename().string(), e.what());
    }
  };
  std::vector<fs::path> tables;
  attempt("a table", [&] { tables = tables_of(options); });
  for (const fs::path& file : tables) attempt(file, [&] { columns.add(file); });
  columns.finish(audit);
}

}  // namespace

Index Audit::pictures() const {
  Index n = 0;
  for (const SplitCount& s : splits) n += s.real + s.fake;
  return n;
}

Index Audit::leaks() const {
  return std::ranges::count_if(
      properties, [](const Property& p) { return p.separation.verdict == Verdict::Leak; });
}

Audit audit(const DataOptions& options, int threads) {
  const DataSource source = open_data(options, {});
  if (source.splits.front().tars)
    throw UsageError("audit looks at files: unpack the tars of " + options.data.string());
  if (source.splits.front().pack)
    throw UsageError("audit looks at files: name the set that " + options.data.string() +
                     " was packed of, which has pixels alone");
  Audit audit;
  audit.layout = source.layout;
  if (const std::string others = describe(source.passed_over); !others.empty())
    audit.layout += "; " + others;
  for (const Dataset& split : source.splits) {
    audit.splits.push_back({split.split, split.count(0), split.count(1)});
    audit.bad_files.insert(audit.bad_files.end(), split.unlisted.begin(), split.unlisted.end());
  }
  const Pictures pictures(source);
  FileAudit(pictures, threads, audit).run();
  audit.copies = find_copies(pictures, threads);
  audit_tables(options, audit);
  std::ranges::stable_sort(audit.properties, [](const Property& a, const Property& b) {
    return a.separation.auc > b.separation.auc;
  });
  return audit;
}

}  // namespace dfengine::audit
