// Tables of text as RFC 4180 and spreadsheets write them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/shape.h"

namespace dfengine {

// The limits on what a table may claim.
constexpr std::uintmax_t kMaxCsvBytes = std::uintmax_t{256} << 20;
constexpr std::size_t kMaxCsvColumns = 4096;
constexpr std::size_t kMaxCsvFields = std::size_t{1} << 25;  // a field takes 50 bytes and more

struct CsvTable {
  std::vector<std::string> columns;            // "" where the first line leaves a name empty
  std::vector<std::vector<std::string>> rows;  // each as wide as columns
  std::vector<Index> lines;  // [rows] the line of the file, from 1, on which each row begins

  // The first column of this name, or -1 where there is none.
  Index find(std::string_view column) const;
};

// The first line names the columns, and tells what separates fields: the comma, semicolon, tab or
// bar that it holds most of, or what a line "sep=;" before it says. Fields in quotes may hold
// separators, line breaks and doubled quotes; lines end in LF, CRLF or CR; empty lines and a UTF-8
// byte order mark are passed over. Bytes need not be UTF-8. Throws DataError with file and line for
// a row of another width, a quote that does not end or is followed by text, a NUL byte, and tables
// past the limits above; and with the format's name for a file that is Parquet, Excel, JSON or
// another that is no CSV.
CsvTable read_csv(const std::filesystem::path& file);
// Reads text in memory; `name` stands in the errors.
CsvTable parse_csv(std::string_view text, const std::string& name);

// A field as a CSV file holds it: one with a comma, a quote or a line break is put in quotes.
std::string csv_field(const std::string& text);
// The same for text that a spreadsheet must not take for a formula (=, +, -, @ or a control
// character first): an apostrophe stands before it.
std::string csv_text(const std::string& text);
// The same for a relative path, which "./" then begins: it is the same path.
std::string csv_path(const std::string& path);

}  // namespace dfengine
