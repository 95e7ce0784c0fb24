// Charts: ticks, escaping, and SVG that is well-formed and legible whatever the data.
#include "engine/report/svg_chart.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/base/error.h"
#include "tests/engine/report/report_support.h"

namespace dfengine::report {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Ticks, AreWhatAPersonWouldWrite) {
  const std::vector<double> data = {0.013, 0.87};
  const Ticks t = make_ticks({}, data, 5);
  EXPECT_EQ(t.text, (std::vector<std::string>{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(t.low, 0);
  EXPECT_EQ(t.high, 1);
  const std::vector<double> epochs = {1, 3};
  EXPECT_EQ(make_ticks({"", {}, {}, true}, epochs, 8).text,
            (std::vector<std::string>{"1", "2", "3"}));
  const std::vector<double> rates = {0, 1e-4};
  EXPECT_EQ(make_ticks({}, rates, 5).text.back(), "1e-4");
  EXPECT_EQ(make_ticks({}, rates, 5).text[1], "2e-5");
}

TEST(Ticks, FixedEndsHoldAndDataBeyondThemDoNotCount) {
  const std::vector<double> data = {-3, 7};
  const Ticks t = make_ticks({"", 0.0, 1.0}, data, 5);
  EXPECT_EQ(t.low, 0);
  EXPECT_EQ(t.high, 1);
  EXPECT_EQ(t.at.size(), 6u);
}

TEST(Ticks, RiseByOneTwoOrFiveWithinAnyRange) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> mantissa(-10, 10), power(-12, 12);
  for (int i = 0; i < 2000; ++i) {
    const std::vector<double> data = {mantissa(random) * std::pow(10, power(random)),
                                      mantissa(random) * std::pow(10, power(random)), kNan};
    const int most = 2 + i % 7;
    const Ticks t = make_ticks({}, data, most);
    ASSERT_LE(t.low, std::min(data[0], data[1]) + 1e-5 * (t.high - t.low));
    ASSERT_GE(t.high, std::max(data[0], data[1]) - 1e-5 * (t.high - t.low));
    ASSERT_EQ(t.at.size(), t.text.size());
    ASSERT_GE(t.at.size(), 2u);
    ASSERT_LE(t.at.size(), static_cast<std::size_t>(most) + 3);
    const double step = t.at[1] - t.at[0];
    const double lead = step / std::pow(10.0, std::floor(std::log10(step * 1.0001)));
    ASSERT_TRUE(std::round(lead) == 1 || std::round(lead) == 2 || std::round(lead) == 5) << lead;
    for (std::size_t j = 1; j < t.at.size(); ++j) {
      ASSERT_LT(t.at[j - 1], t.at[j]);
      ASSERT_NE(t.text[j - 1], t.text[j]) << data[0] << " to " << data[1];
    }
  }
}

TEST(Ticks, SurviveNoDataOneValueAndHugeOnes) {
  for (const std::vector<double>& data :
       {std::vector<double>{}, {kNan, kInfinity}, {0}, {5}, {-1e-300}, {1e300}, {1e99, -1e99}}) {
    const Ticks t = make_ticks({}, data, 5);
    EXPECT_LT(t.low, t.high);
    EXPECT_FALSE(t.at.empty());
    EXPECT_LE(t.at.size(), 8u);
  }
}

TEST(ReportText, EscapesWhatMarkupWouldTakeAsItsOwn) {
  EXPECT_EQ(escape("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escape("\xC3\xA9\xE2\x80\xA6\xF0\x9F\x99\x82"), "\xC3\xA9\xE2\x80\xA6\xF0\x9F\x99\x82");
  // No UTF-8, an overlong slash, a surrogate, a lone lead byte, and a control character.
  for (const char* bad : {"\xFF", "\xC0\xAF", "\xED\xA0\x80", "\xE2\x80", "\x01"})
    EXPECT_EQ(escape(std::string(bad)).substr(0, 3), "\xEF\xBF\xBD");
}

TEST(ReportText, ShortensByWidthAndWholeCharacters) {
  EXPECT_EQ(shorten("short", 100), "short");
  const std::string cut = shorten(std::string(100, 'm') + "\xC3\xA9", 10);
  EXPECT_LE(text_width(cut), 10);
  EXPECT_TRUE(cut.ends_with("\xE2\x80\xA6"));
  EXPECT_EQ(
      MarkupCheck(escape(shorten("\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", 3))).run(),
      "");
  EXPECT_EQ(escape(shorten("\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9", 3)).find("\xEF\xBF\xBD"),
            std::string::npos);
}

TEST(ReportText, Base64AsInRfc4648) {
  const auto encode = [](std::string_view s) {
    return data_uri("t/x", std::as_bytes(std::span(s.data(), s.size())));
  };
  EXPECT_EQ(encode(""), "data:t/x;base64,");
  EXPECT_EQ(encode("f"), "data:t/x;base64,Zg==");
  EXPECT_EQ(encode("fo"), "data:t/x;base64,Zm8=");
  EXPECT_EQ(encode("foobar"), "data:t/x;base64,Zm9vYmFy");
  EXPECT_EQ(encode("\xFB\xFF"), "data:t/x;base64,+/8=");
}

Chart example() {
  Chart chart{"Loss & <accuracy>", {"epoch", {}, {}, true}, {"nats"}, {}};
  Series train{"training", {1, 2, 3, 4}, {0.7, kNan, 0.5, 0.3}, Ink::A};
  train.dots = true;
  train.low = {0.6, 0.6, 0.4, 0.2};
  train.high = {0.8, 0.8, kInfinity, 0.4};
  Series step{"step \"two\"", {1, 4}, {0.1, 0.9}, Ink::B, Shape::Step, true};
  Series bars{"bars", {1, 2, 3}, {0.2, 0.4}, Ink::Fake, Shape::Bars};
  chart.series = {train, step, bars};
  chart.rules = {{2, "best epoch"}};
  return chart;
}

TEST(Chart, IsSoundAndShowsWhatItWasGiven) {
  const std::string element = svg(example());
  expect_sound_svg(element);
  for (const char* part :
       {"Loss &amp; &lt;accuracy&gt;", "training", "step &quot;two&quot;", "best epoch", ">epoch<",
        ">nats<", "mute da", "class=\"dot ia\"", "class=\"wh ia\""})
    EXPECT_NE(element.find(part), element.npos) << part;
  // The gap: the pen is set down twice.
  const std::string path = element.substr(element.find("<path d=\"") + 9);
  EXPECT_EQ(std::count(path.begin(), path.begin() + std::ptrdiff_t(path.find('"')), 'M'), 2);
}

TEST(Chart, PutsValuesWhereTheAxesSay) {
  Chart chart{"t", {"", 0.0, 1.0}, {"", 0.0, 1.0}, {}};
  chart.series = {{"", {0.5}, {0.5}, Ink::A}, {"", {0, 1}, {0, 1}, Ink::B}};
  const std::string element = svg(chart);
  const double x = attribute(element.substr(element.find("<circle")), "cx");
  const double y = attribute(element.substr(element.find("<circle")), "cy");
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  const std::string path = element.substr(element.find("<path d="));
  ASSERT_EQ(std::sscanf(path.c_str(), "<path d=\"M%lf %lfL%lf %lf\"", &x0, &y0, &x1, &y1), 4);
  EXPECT_LT(x0, x1);
  EXPECT_GT(y0, y1);                            // y grows upward
  EXPECT_LE(std::abs(x - (x0 + x1) / 2), 0.1);  // coordinates have one decimal
  EXPECT_LE(std::abs(y - (y0 + y1) / 2), 0.1);
}

TEST(Chart, PointsBeyondAFixedAxisLieOnItsEdge) {
  Chart chart{"t", {"", 0.0, 1.0}, {"", 0.0, 1.0}, {}};
  chart.series = {{"", {-3}, {7}, Ink::A}, {"", {0, 1}, {0, 1}, Ink::B}};
  const std::string element = svg(chart);
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  const std::string path = element.substr(element.find("<path d="));
  ASSERT_EQ(std::sscanf(path.c_str(), "<path d=\"M%lf %lfL%lf %lf\"", &x0, &y0, &x1, &y1), 4);
  EXPECT_EQ(attribute(element.substr(element.find("<circle")), "cx"), x0);
  EXPECT_EQ(attribute(element.substr(element.find("<circle")), "cy"), y1);
}

TEST(Chart, SurvivesEmptyAndDegenerateData) {
  Chart chart = example();
  chart.series.clear();
  chart.rules = {{kNan, "nowhere"}};
  EXPECT_NE(svg(chart).find("no data"), std::string::npos);
  for (double v : {0.0, 1e-310, -1e300, kNan, kInfinity, 3.0}) {
    chart.series = {{"a", {v}, {v}, Ink::A},
                    {"b", {v, v}, {v, v}, Ink::B, Shape::Step},
                    {"c", {}, {}, Ink::Real, Shape::Bars},
                    {"d", {0, v}, {v}, Ink::Real, Shape::Bars}};
    chart.x = {"x"};
    expect_sound_svg(svg(chart));
  }
}

TEST(Chart, LongNamesNeitherOverlapNorLeaveTheDrawing) {
  Chart chart = example();
  chart.title = std::string(200, 'W');
  chart.x.label = std::string(200, 'x');
  chart.y.label = std::string(200, 'y');
  chart.x.whole = false;
  for (int i = 0; i < 9; ++i)
    chart.series.push_back(
        {"a run with a name of its own " + std::string(static_cast<std::size_t>(7 * i), 'm'),
         {123456.0 + i, 123457.5},
         {-1e-9, 12345.678},
         ink_of(static_cast<std::size_t>(i))});
  expect_sound_svg(svg(chart));
}

TEST(Chart, AMillionPointsStaySmall) {
  Chart chart = example();
  Series many{"many", {}, {}, Ink::A, Shape::Step};
  for (int i = 0; i < 1'000'000; ++i) {
    many.x.push_back(i / 1e6);
    many.y.push_back(std::sqrt(i / 1e6));
  }
  chart.series = {many};
  const std::string element = svg(chart);
  EXPECT_LT(element.size(), 60'000u);
  expect_sound_svg(element);
}

TEST(Chart, SizesThatDisagreeAreRefused) {
  Chart chart = example();
  chart.series = {{"s", {1, 2}, {1}, Ink::A}};
  EXPECT_THROW(svg(chart), ShapeError);
  chart.series = {{"s", {1}, {1}, Ink::A}};
  chart.series[0].low = {0};
  EXPECT_THROW(svg(chart), ShapeError);
  EXPECT_THROW(svg(MatrixChart{"m", {"a", "b"}, {{1, 2}, {3}}}), ShapeError);
}

TEST(BarChart, IsSoundWithAndWithoutBars) {
  BarChart chart{"Rungs", {"balanced accuracy", 0.5, 1.0}, {}};
  EXPECT_NE(svg(chart).find("no data"), std::string::npos);
  chart.bars = {{"seed recipe <1>", 0.7, 0.65, 0.72, Ink::A},
                {std::string(300, 'n'), kNan, kNan, kNan, Ink::B},
                {"below the axis", -4, -5, 9, Ink::C}};
  const std::string element = svg(chart);
  expect_sound_svg(element);
  EXPECT_NE(element.find(">0.700<"), element.npos);
  EXPECT_NE(element.find(">n/a<"), element.npos);
  EXPECT_EQ(element.find("width=\"-"), element.npos);
}

TEST(MatrixChart, ShadesByTheShareOfTheRow) {
  const std::string element = svg(MatrixChart{"Counts", {"real", "fake"}, {{90, 10}, {0, 0}}});
  expect_sound_svg(element);
  EXPECT_NE(element.find(">90<"), element.npos);
  EXPECT_NE(element.find("class=\"cell real\" rx=\"3\" fill-opacity=\"0.37\""),
            element.npos);  // .06 + .34 * .9
  expect_sound_svg(svg(MatrixChart{"m", {"a", "b", "c"}, {{1, 2, kNan}, {3, 4, 5}, {0, 0, 0}}, 2}));
}

TEST(SvgFile, IsOneDocumentWithItsStyleForBothThemes) {
  const std::string file = svg_file(svg(example()));
  MarkupCheck check(file);
  EXPECT_EQ(check.run(), "");
  EXPECT_TRUE(file.starts_with("<?xml"));
  EXPECT_NE(file.find("prefers-color-scheme:dark"), file.npos);
  EXPECT_TRUE(check.elements().contains("style"));
}

}  // namespace
}  // namespace dfengine::report
