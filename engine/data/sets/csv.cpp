#include "engine/data/sets/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "engine/data/sets/class_names.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

// What a file is that begins so, where it is no text of a table.
std::string_view other_format(std::string_view text) {
  using namespace std::string_view_literals;
  constexpr std::pair<std::string_view, std::string_view> kSignatures[] = {
      {"PAR1"sv, "Parquet"},
      {"PK\3\4"sv, "a workbook of Excel or another zip archive"},
      {"\xD0\xCF\x11\xE0"sv, "a workbook of Excel"},
      {"ARROW1"sv, "Arrow"},
      {"SQLite format 3"sv, "a database of SQLite"},
      {"\x1F\x8B"sv, "a gzip archive"}};
  for (const auto& [begin, format] : kSignatures)
    if (text.starts_with(begin)) return format;
  const auto next = [&](std::size_t from) {
    return std::min(text.find_first_not_of(" \t\r\n", from), text.size());
  };
  const std::string_view open = text.substr(next(0), 1);
  const std::string_view inside = text.substr(next(next(0) + open.size()), 1);
  const bool object = open == "{" && (inside == "\"" || inside == "}");
  const bool array = open == "[" && (inside == "{" || inside == "[" || inside == "\"");
  return object || array ? "JSON" : "";
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
  }

  CsvTable table() {
    CsvTable table;
    if (const std::string_view other = other_format(text_); !other.empty())
      throw DataError(fmt::format("{}: {}, no text of a table; export it as CSV", name_, other));
    check_no_nul();
    find_separator();
    check_fields();
    std::vector<std::string> row;
    if (!next_row(row)) fail(1, "is empty; the first line must name the columns");
    table.columns = std::move(row);
    while (next_row(row)) {
      if (row.size() != table.columns.size()) {
        fail(row_line_,
             fmt::format("{} fields separated by {}, but {} columns have names", row.size(),
                         separator_ == '\t' ? "tabs" : fmt::format("'{}'", separator_),
                         table.columns.size()));
      }
      table.rows.push_back(std::move(row));
      table.lines.push_back(row_line_);
    }
    return table;
  }

 private:
  [[noreturn]] void fail(Index line, const std::string& what) const {
    throw DataError(fmt::format("{}, line {}: {}", name_, line, what));
  }

  void check_no_nul() const {
    const std::size_t at = text_.find('\0');
    if (at == std::string_view::npos) return;
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<Index>(at), '\n');
    fail(line, "a NUL byte: no CSV text, or UTF-16; save it as UTF-8");
  }

  void find_separator() {
    while (at_ < text_.size() && at_break()) take_break();
    const std::string_view line = text_.substr(at_, text_.find_first_of("\r\n", at_) - at_);
    constexpr std::string_view kSpreadsheet = "sep=";
    if (line.size() == kSpreadsheet.size() + 1 && lower_case(line).starts_with(kSpreadsheet)) {
      separator_ = line.back();
      at_ += line.size();
      ends_[0] = separator_;
      return;
    }
    std::ptrdiff_t most = 0;
    for (const char candidate : {',', ';', '\t', '|'}) {
      bool quoted = false;
      const std::ptrdiff_t count = std::ranges::count_if(line, [&](char c) {
        quoted ^= c == '"';
        return c == candidate && !quoted;
      });
      if (count > most) {
        most = count;
        separator_ = candidate;
      }
    }
    ends_[0] = separator_;
  }

  // Before they take memory. Those within quotes are counted too.
  void check_fields() const {
    const auto lines = std::max(std::ranges::count(text_, '\n'), std::ranges::count(text_, '\r'));
    const auto fields = static_cast<std::size_t>(std::ranges::count(text_, separator_) + lines);
    if (fields > kMaxCsvFields)
      throw DataError(
          fmt::format("{}: {} separators and lines pass the limit of {} for a table; "
                      "make it several",
                      name_, fields, kMaxCsvFields));
  }

  bool at_break() const { return text_[at_] == '\n' || text_[at_] == '\r'; }

  void take_break() {
    if (text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++at_;
    ++at_;
    ++line_;
  }

  // False at the end of the text.
  bool next_row(std::vector<std::string>& row) {
    row.clear();
    while (at_ < text_.size() && at_break()) take_break();
    if (at_ == text_.size()) return false;
    row_line_ = line_;
    while (true) {
      if (row.size() == kMaxCsvColumns) {
        fail(line_, fmt::format("more than {} fields in a row", kMaxCsvColumns));
      }
      const bool quoted = at_ < text_.size() && text_[at_] == '"';
      row.push_back(quoted ? quoted_field() : plain_field());
      if (at_ == text_.size()) return true;
      if (at_break()) {
        take_break();
        return true;
      }
      ++at_;  // the separator
    }
  }

  std::string plain_field() {
    const std::size_t end = std::min(text_.find_first_of(ends_, at_), text_.size());
    std::string field(text_.substr(at_, end - at_));
    at_ = end;
    return field;
  }

  std::string quoted_field() {
    const Index first_line = line_;
    std::string field;
    ++at_;
    while (true) {
      const std::size_t end = text_.find_first_of("\"\r\n", at_);
      if (end == std::string_view::npos) fail(first_line, "a quoted field that does not end");
      field += text_.substr(at_, end - at_);
      at_ = end;
      if (at_break()) {
        take_break();
        field += text_.substr(end, at_ - end);
        continue;
      }
      ++at_;
      if (at_ == text_.size() || text_[at_] == separator_ || at_break()) return field;
      if (text_[at_] != '"') fail(line_, "text after the closing quote of a field");
      field += '"';
      ++at_;
    }
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  char separator_ = ',';
  std::string ends_ = ",\r\n";  // of a plain field
  Index line_ = 1, row_line_ = 1;
};

}  // namespace

Index CsvTable::find(std::string_view column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  return found == columns.end() ? -1 : found - columns.begin();
}

CsvTable parse_csv(std::string_view text, const std::string& name) {
  return Parser(text, name).table();
}

CsvTable read_csv(const std::filesystem::path& file) {
  const std::string name = file.string();
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) throw DataError(name + ": no such file");
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) throw DataError(name + ": " + error.message());
  if (size > kMaxCsvBytes) {
    throw DataError(
        fmt::format("{}: {} bytes pass the limit of {} for a table", name, size, kMaxCsvBytes));
  }
  std::string text(size, '\0');
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw DataError(name + ": cannot be opened; check its permissions");
  if (!stream.read(text.data(), static_cast<std::streamsize>(size))) {
    throw DataError(name + ": cannot be read");
  }
  return parse_csv(text, name);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

static bool begins_a_formula(const std::string& text) {
  return !text.empty() && std::string_view("=+-@\t\r\n").find(text[0]) != std::string_view::npos;
}

std::string csv_text(const std::string& text) {
  return csv_field(begins_a_formula(text) ? "'" + text : text);
}

std::string csv_path(const std::string& path) {
  return csv_field(begins_a_formula(path) ? "./" + path : path);
}

}  // namespace dfengine
