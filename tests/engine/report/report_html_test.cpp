// Pages: well-formed, escaped, self-contained.
#include "engine/report/html.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/engine/report/report_support.h"

namespace dfengine::report {
namespace {

Page example() {
  Page page("Run <1> & \"two\"", "a subtitle");
  page.tiles({{"Accuracy", ".9", "n = 3"}});
  page.section("First");
  page.text("text with <script>alert(1)</script>");
  page.charts({svg(Chart{"Chart", {"x"}, {"y"}, {{"s", {0, 1}, {0, 1}, Ink::A}}})});
  page.section("Second");
  page.table({"caption", {"name", "value"}, {{"a & b", "1"}, {"c", "<2>"}}});
  page.pictures(
      {{"data:image/png;base64,AA==", "a \"face\"", {"called real", "p = .1"}, Ink::Fake}});
  page.facts({{"version", "0.1"}});
  page.code("dfengine train --data 'a b'");
  return page;
}

TEST(Page, IsWellFormedAndEscapesEverything) {
  const std::string html = example().html();
  MarkupCheck check(html);
  EXPECT_EQ(check.run(), "");
  for (const char* element :
       {"h1", "h2", "table", "thead", "th", "td", "figure", "img", "dl", "pre", "svg"})
    EXPECT_TRUE(check.elements().contains(element)) << element;
  EXPECT_FALSE(check.elements().contains("script"));
  EXPECT_NE(html.find("<title>Run &lt;1&gt; &amp; &quot;two&quot;</title>"), html.npos);
}

TEST(Page, NeedsNothingFromElsewhere) {
  std::string html = example().html();
  // The SVG name space is a name, not an address.
  const std::string name_space = "http://www.w3.org/2000/svg";
  for (std::size_t at; (at = html.find(name_space)) != html.npos;)
    html.erase(at, name_space.size());
  for (const char* outside : {"http:", "https:", "url(", "@import", "src=\"/", "src=\"."})
    EXPECT_EQ(html.find(outside), html.npos) << outside;
  EXPECT_NE(html.find("width=device-width"), html.npos);
  EXPECT_NE(html.find("prefers-color-scheme:dark"), html.npos);
}

TEST(Page, EmptyAndRaggedParts) {
  Page page("", "");
  page.charts({});
  page.pictures({});
  page.facts({});
  page.table({"", {"only"}, {}});
  EXPECT_EQ(MarkupCheck(page.html()).run(), "");
  EXPECT_THROW(page.table({"t", {"a", "b"}, {{"1"}}}), ShapeError);
}

}  // namespace
}  // namespace dfengine::report
