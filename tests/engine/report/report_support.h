// Checks on generated markup: well-formedness, and whether text stays on the drawing.
#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/report/text.h"

namespace dfengine::report {

// Walks tags, attributes and entities of XML, or of HTML whose void elements are known. Returns ""
// or what is wrong.
class MarkupCheck {
 public:
  explicit MarkupCheck(std::string_view text) : text_(text) {}

  std::string run() {
    while (at_ < text_.size() && fault_.empty()) {
      if (text_[at_] == '<')
        tag();
      else
        character();
    }
    if (fault_.empty() && !open_.empty()) fault_ = "never closed: " + open_.back();
    return fault_;
  }
  const std::set<std::string>& elements() const { return seen_; }

 private:
  void fail(const std::string& what) {
    if (fault_.empty())
      fault_ = what + " at " + std::to_string(at_) + ": " + std::string(text_.substr(at_, 40));
  }

  void character() {
    if (text_[at_] == '&') {
      bool known = false;
      for (std::string_view e : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
        known = known || text_.substr(at_, e.size()) == e;
      if (!known) fail("bare &");
    }
    ++at_;
  }

  std::string name() {
    const std::size_t from = at_;
    while (at_ < text_.size() &&
           (std::isalnum(text_[at_]) || text_[at_] == '-' || text_[at_] == ':'))
      ++at_;
    if (from == at_) fail("no name");
    return std::string(text_.substr(from, at_ - from));
  }

  void tag() {
    if (text_.substr(at_, 2) == "<?" || text_.substr(at_, 2) == "<!") {
      at_ = text_.find('>', at_) + 1;
      return;
    }
    ++at_;
    const bool closing = text_[at_] == '/';
    if (closing) ++at_;
    const std::string element = name();
    seen_.insert(element);
    std::set<std::string> attributes;
    while (fault_.empty() && at_ < text_.size() && text_[at_] == ' ') {
      ++at_;
      if (!attributes.insert(name()).second) fail("attribute twice");
      if (text_.substr(at_, 2) != "=\"") return fail("attribute without value");
      at_ += 2;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '<') character();
      if (at_ >= text_.size() || text_[at_] != '"') return fail("value without end");
      ++at_;
    }
    const bool empty = text_.substr(at_, 2) == "/>";
    if (empty) ++at_;
    if (at_ >= text_.size() || text_[at_] != '>') return fail("tag without end");
    ++at_;
    if (closing) {
      if (open_.empty() || open_.back() != element) return fail("closes " + element);
      open_.pop_back();
    } else if (!empty && !std::set<std::string>{"meta", "link", "img", "br"}.contains(element)) {
      open_.push_back(element);
      if (element == "style") at_ = text_.find("</style>", at_);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> open_;
  std::set<std::string> seen_;
  std::string fault_;
};

struct TextBox {
  std::string text;
  double left, right, top, bottom;
};

inline double attribute(std::string_view tag, const std::string& name) {
  const std::size_t at = tag.find(" " + name + "=\"");
  return at == tag.npos ? 0 : std::stod(std::string(tag.substr(at + name.size() + 3, 20)));
}

inline std::string unescape(std::string text) {
  constexpr std::pair<const char*, const char*> kEntities[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}};
  for (const auto& [entity, character] : kEntities)
    for (std::size_t at; (at = text.find(entity)) != text.npos;)
      text.replace(at, std::string_view(entity).size(), character);
  return text;
}

// Where the texts of one <svg> element lie, by text_width.
inline std::vector<TextBox> text_boxes(const std::string& svg) {
  std::vector<TextBox> boxes;
  for (std::size_t at = svg.find("<text"); at != svg.npos; at = svg.find("<text", at + 1)) {
    const std::size_t inside = svg.find('>', at) + 1;
    const std::string tag = svg.substr(at, inside - at);
    const std::string text = unescape(svg.substr(inside, svg.find('<', inside) - inside));
    const bool title = tag.find("\"ti\"") != tag.npos, big = tag.find("\"big\"") != tag.npos;
    const double size = title ? 14 : big ? 20 : 12;
    const double width = text_width(text) * size, x = attribute(tag, "x"), y = attribute(tag, "y");
    const double left = tag.find("middle") != tag.npos    ? x - width / 2
                        : tag.find("\"end\"") != tag.npos ? x - width
                                                          : x;
    boxes.push_back({text, left, left + width, y - 0.75 * size, y + 0.2 * size});
  }
  return boxes;
}

// Well-formed, without numbers that are none, every text on the drawing and apart from the others.
inline void expect_sound_svg(const std::string& svg) {
  EXPECT_EQ(MarkupCheck(svg).run(), "") << svg;
  for (const char* bad : {"nan", "inf", "NaN"}) EXPECT_EQ(svg.find(bad), svg.npos) << svg;
  const double width = attribute(svg, "width"), height = attribute(svg, "height");
  const std::vector<TextBox> boxes = text_boxes(svg);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const TextBox& a = boxes[i];
    EXPECT_TRUE(a.left >= -1 && a.right <= width + 1 && a.top >= 0 && a.bottom <= height)
        << a.text << " is cut: " << a.left << " to " << a.right << "\n"
        << svg;
    for (std::size_t j = 0; j < i; ++j) {
      const TextBox& b = boxes[j];
      EXPECT_FALSE(a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
          << a.text << " lies over " << b.text << "\n"
          << svg;
    }
  }
}

}  // namespace dfengine::report
