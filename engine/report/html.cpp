#include "engine/report/html.h"

#include <fmt/format.h>

#include "engine/report/drawing.h"
#include "engine/report/text.h"
#include "kernels/base/error.h"

namespace dfengine::report {
namespace {

constexpr std::string_view kCss = R"css(
:root{color-scheme:light dark;--back:#fff;--text:#1c2126;--soft:#5a646e;--line:#e4e7ea;
--panel:#f6f7f8;--real:#0b6fa4;--fake:#c4501b}
@media (prefers-color-scheme:dark){:root{--back:#15191d;--text:#e7eaed;--soft:#a0aab4;
--line:#2c333a;--panel:#1d2227;--real:#5ab4e5;--fake:#f2935c}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.55 system-ui,-apple-system,
'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1128px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 12px}
p{margin:0 0 14px;max-width:72ch;overflow-wrap:anywhere}
.sub{color:var(--soft)}
section{border-top:1px solid var(--line);margin-top:28px;padding-top:20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:12px;
margin:20px 0}
.tiles div{background:var(--panel);border-radius:8px;padding:12px 14px;min-width:0}
.tiles b{display:block;font-size:24px;line-height:1.3;font-weight:600}
.tiles span,.tiles i{display:block;color:var(--soft);font-size:13px;font-style:normal;
overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));
gap:28px 32px;margin:8px 0 20px;align-items:start}
.charts svg{display:block;width:100%;height:auto;max-width:480px}
.tables{display:flex;flex-wrap:wrap;align-items:flex-start;gap:20px 56px;margin:0 0 20px}
.tables>div{min-width:0;max-width:100%}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:14px}
.caption{color:var(--soft);font-size:14px;margin:0 0 4px}
th,td{padding:5px 14px 5px 0;text-align:right;white-space:nowrap;border-bottom:1px solid
var(--line)}
th{font-weight:600;vertical-align:bottom}
th.t,td.t{text-align:left}
td:last-child,th:last-child{padding-right:0}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(var(--w),1fr));gap:18px 14px;
margin:8px 0 20px}
figure{margin:0;min-width:0}
figure img{display:block;width:100%;height:auto;border-radius:6px;background:var(--panel)}
figcaption{font-size:12.5px;line-height:1.45;margin-top:6px;color:var(--soft);
overflow-wrap:anywhere}
figcaption b{display:block;color:var(--text)}
figcaption b.real{color:var(--real)}figcaption b.fake{color:var(--fake)}
dl{margin:0 0 20px}dl.long{columns:300px 3;column-gap:40px}
dl div{display:grid;grid-template-columns:152px minmax(0,1fr);gap:0 16px;padding:2px 0;
break-inside:avoid}
dt{color:var(--soft);overflow-wrap:anywhere}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--panel);border-radius:8px;padding:12px 14px;margin:0 0 20px;overflow-x:auto;
font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}
@media (max-width:600px){main{padding:20px 16px 48px}h1{font-size:22px}
.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:10px}
th,td{padding-right:10px}table{font-size:13.5px}.tiles b{font-size:21px}}
@media print{section{break-inside:avoid}}
)css";

}  // namespace

Page::Page(std::string_view title, std::string_view subtitle)
    : title_(title), subtitle_(subtitle) {}

void Page::section(std::string_view heading) {
  if (in_section_) body_ += "</section>\n";
  in_section_ = true;
  body_ += fmt::format("<section>\n<h2>{}</h2>\n", escape(heading));
}

void Page::text(std::string_view paragraph) {
  body_ += fmt::format("<p>{}</p>\n", escape(paragraph));
}

void Page::tiles(const std::vector<Tile>& tiles) {
  body_ += "<div class=\"tiles\">\n";
  for (const Tile& t : tiles)
    body_ += fmt::format("<div><span>{}</span><b>{}</b><i>{}</i></div>\n", escape(t.name),
                         escape(t.value), escape(t.note));
  body_ += "</div>\n";
}

void Page::charts(const std::vector<std::string>& svgs) {
  body_ += "<div class=\"charts\">\n";
  for (const std::string& svg : svgs) body_ += svg + "\n";
  body_ += "</div>\n";
}

void Page::tables(const std::vector<Table>& tables) {
  body_ += "<div class=\"tables\">\n";
  for (const Table& table : tables) one_table(table);
  body_ += "</div>\n";
}

void Page::one_table(const Table& table) {
  const auto cells = [&](const std::vector<std::string>& row, const char* tag) {
    if (row.size() != table.columns.size())
      throw ShapeError(fmt::format("table \"{}\": a row of {} cells under {} columns",
                                   table.caption, row.size(), table.columns.size()));
    body_ += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i)
      body_ += fmt::format("<{0}{1}>{2}</{0}>", tag, i < table.text_columns ? " class=\"t\"" : "",
                           escape(row[i]));
    body_ += "</tr>\n";
  };
  // The caption stays in place when the table scrolls.
  body_ += "<div>";
  if (!table.caption.empty())
    body_ += fmt::format("<p class=\"caption\">{}</p>", escape(table.caption));
  body_ +=
      fmt::format("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\"><table>",
                  escape(table.caption.empty() ? "table" : table.caption));
  body_ += "<thead>";
  cells(table.columns, "th");
  body_ += "</thead><tbody>\n";
  for (const auto& row : table.rows) cells(row, "td");
  body_ += "</tbody></table></div></div>\n";
}

void Page::pictures(const std::vector<Picture>& pictures, int width) {
  body_ += fmt::format("<div class=\"pictures\" style=\"--w:{}px\">\n", width);
  for (const Picture& p : pictures) {
    body_ += fmt::format("<figure><img src=\"{}\" alt=\"{}\"><figcaption>", escape(p.data),
                         escape(p.alt));
    for (std::size_t i = 0; i < p.caption.size(); ++i)
      body_ += i == 0
                   ? fmt::format("<b class=\"{}\">{}</b>", ink_class(p.ink), escape(p.caption[i]))
                   : fmt::format("{}{}", i > 1 ? "<br>" : "", escape(p.caption[i]));
    body_ += "</figcaption></figure>\n";
  }
  body_ += "</div>\n";
}

void Page::facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  constexpr std::size_t kColumn = 12;  // more read better beside each other
  body_ += facts.size() > kColumn ? "<dl class=\"long\">\n" : "<dl>\n";
  for (const auto& [name, value] : facts)
    body_ += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name),
                         value.empty() ? "-" : escape(value));
  body_ += "</dl>\n";
}

void Page::code(std::string_view text) {
  body_ += fmt::format("<pre tabindex=\"0\">{}</pre>\n", escape(text));
}

std::string Page::html() const {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<title>{0}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{1}{2}</style>\n</head>\n"
      "<body>\n<main>\n<h1>{0}</h1>\n<p class=\"sub\">{3}</p>\n{4}{5}</main>\n</body>\n</html>\n",
      escape(title_), kCss, chart_css(), escape(subtitle_), body_,
      in_section_ ? "</section>\n" : "");
}

}  // namespace dfengine::report
