// One HTML page that holds all it needs: text, figures, tables and pictures, with no script and no
// network. It follows the reader's light or dark setting and fits a phone.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/report/svg_chart.h"

namespace dfengine::report {

// The rows are as wide as `columns`. The first text_columns are text, the others numbers, which are
// aligned to the right. A table wider than the page scrolls inside its own box.
struct Table {
  std::string caption;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::size_t text_columns = 1;
};

// A figure that people look for first.
struct Tile {
  std::string name, value, note;
};

// `data` is a data: URI. The first caption line stands out, in the colour of `ink`.
struct Picture {
  std::string data;
  std::string alt;
  std::vector<std::string> caption;
  Ink ink = Ink::Muted;
};

// All text is escaped. Only charts are taken as they are.
class Page {
 public:
  // The title also heads the page, and `subtitle` says in a line what the page is about.
  Page(std::string_view title, std::string_view subtitle);

  // Begins a section.
  void section(std::string_view heading);
  void text(std::string_view paragraph);
  void tiles(const std::vector<Tile>& tiles);
  // Puts elements from svg() side by side where the page is wide enough.
  void charts(const std::vector<std::string>& svgs);
  // Throws ShapeError for a row of another width than the columns.
  void table(const Table& table) { tables({table}); }
  // Puts tables side by side where the page is wide enough.
  void tables(const std::vector<Table>& tables);
  // Puts as many pictures beside each other as have room for `width` pixels each.
  void pictures(const std::vector<Picture>& pictures, int width = 136);
  // Lists names and values, one below the other.
  void facts(const std::vector<std::pair<std::string, std::string>>& facts);
  // Keeps line breaks and blanks, and scrolls inside its own box.
  void code(std::string_view text);

  std::string html() const;

 private:
  void one_table(const Table& table);

  std::string title_, subtitle_;
  std::string body_;
  bool in_section_ = false;
};

}  // namespace dfengine::report
