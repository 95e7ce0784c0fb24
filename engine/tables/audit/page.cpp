// An audit as JSON, as text and as a page.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/report/html.h"
#include "engine/tables/audit/audit.h"
#include "kernels/base/json_bytes.h"

namespace dfengine::audit {
namespace {

const char* name_of(Verdict verdict) {
  if (verdict == Verdict::Leak) return "leak";
  return verdict == Verdict::Hint ? "hint" : "none";
}

Index count_copies(const Audit& audit, bool across_splits) {
  return std::ranges::count_if(audit.copies,
                               [&](const Copies& c) { return !across_splits || c.across_splits; });
}

Index count_contradictions(const Audit& audit) {
  return std::ranges::count_if(audit.copies, [](const Copies& c) { return c.across_labels; });
}

// The first files with both labels or in several splits, a group a line.
std::string first_faults(const Audit& audit) {
  constexpr std::size_t kGroups = 5, kFiles = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(audit.copies.size(), kGroups); ++i) {
    const Copies& c = audit.copies[i];
    if (!c.across_labels && !c.across_splits) break;
    const std::size_t shown = std::min(c.files.size(), kFiles);
    text += fmt::format("  {}: {}{}\n", c.across_labels ? "both labels" : "several splits",
                        fmt::join(c.files.begin(), c.files.begin() + std::ptrdiff_t(shown), ", "),
                        shown < c.files.size() ? ", ..." : "");
  }
  return text;
}

std::string kind(const Property& p) {
  return p.of_table ? "column" : "files";
}

void add_lists(const Audit& audit, report::Page& page) {
  constexpr std::size_t kMost = 50;
  if (!audit.copies.empty()) {
    page.section("Files with the same bytes");
    report::Table table{"The first groups", {"files", "splits", "labels"}, {}, 3};
    for (std::size_t i = 0; i < std::min(audit.copies.size(), kMost); ++i) {
      const Copies& c = audit.copies[i];
      std::string files;
      for (std::size_t k = 0; k < std::min(c.files.size(), kMost); ++k)
        files += (k > 0 ? ", " : "") + readable(c.files[k]);
      table.rows.push_back(
          {files, c.across_splits ? "several" : "one", c.across_labels ? "contradict" : "agree"});
    }
    page.table(table);
  }
  if (audit.bad_files.empty()) return;
  page.section("Files that cannot be used");
  report::Table table{"By listing and header alone", {"split", "path", "reason"}, {}, 3};
  for (std::size_t i = 0; i < std::min(audit.bad_files.size(), kMost); ++i) {
    const BadFile& b = audit.bad_files[i];
    table.rows.push_back({readable(b.split), readable(b.relative), readable(b.reason)});
  }
  page.table(table);
}

}  // namespace

nlohmann::json to_json(const Audit& audit) {
  using nlohmann::json;
  json j = {{"layout", readable(audit.layout)},
            {"pictures", audit.pictures()},
            {"leaks", audit.leaks()},
            {"copies_groups", count_copies(audit, false)},
            {"copies_across_splits", count_copies(audit, true)},
            {"copies_with_contradicting_labels", count_contradictions(audit)}};
  for (const char* list : {"splits", "properties", "shares", "copies", "bad_files"})
    j[list] = json::array();
  for (const SplitCount& s : audit.splits)
    j["splits"].push_back({{"split", readable(s.split)}, {"real", s.real}, {"fake", s.fake}});
  for (const Property& p : audit.properties)
    j["properties"].push_back({{"name", readable(p.name)},
                               {"of", kind(p)},
                               {"auc", p.separation.auc},
                               {"view", p.separation.view},
                               {"distinct", p.separation.distinct},
                               {"verdict", name_of(p.separation.verdict)}});
  for (const Share& s : audit.shares)
    j["shares"].push_back({{"property", s.property},
                           {"value", readable(s.value)},
                           {"real", s.real},
                           {"fake", s.fake}});
  for (const Copies& c : audit.copies) {
    json files = json::array();
    for (const std::string& file : c.files) files.push_back(bytes_to_json(file));
    j["copies"].push_back(
        {{"files", files}, {"across_splits", c.across_splits}, {"across_labels", c.across_labels}});
  }
  for (const BadFile& b : audit.bad_files)
    j["bad_files"].push_back({{"split", bytes_to_json(b.split)},
                              {"path", bytes_to_json(b.relative)},
                              {"reason", readable(b.reason)}});
  return j;
}

std::string to_text(const Audit& audit) {
  std::string text = "data: " + audit.layout + "\n";
  for (const SplitCount& s : audit.splits)
    text += fmt::format("  {}: {} real + {} fake\n", s.split, s.real, s.fake);
  text += fmt::format(
      "same bytes: {} groups of files, {} of them across splits, {} with contradicting labels\n",
      count_copies(audit, false), count_copies(audit, true), count_contradictions(audit));
  text += first_faults(audit);
  text += fmt::format("cannot be used, by listing and header alone: {} files\n",
                      audit.bad_files.size());
  text += "\nverdict  AUC     of      property (what of it separates)\n";
  for (const Property& p : audit.properties)
    text += fmt::format("{:7}  {:.4f}  {:6}  {} ({})\n", name_of(p.separation.verdict),
                        p.separation.auc, kind(p), p.name, p.separation.view);
  const Index leaks = audit.leaks(), contradictions = count_contradictions(audit);
  if (contradictions > 0)
    text += fmt::format(
        "\n{} {} of equal files {} both labels: correct them before anything is trained.\n",
        contradictions, contradictions == 1 ? "group" : "groups",
        contradictions == 1 ? "has" : "have");
  text += leaks == 0 ? "\nNo property tells the classes apart by itself.\n"
                     : fmt::format(
                           "\n{} {} the label away without the picture: keep {} out of "
                           "training and out of file names.\n",
                           leaks, leaks == 1 ? "property gives" : "properties give",
                           leaks == 1 ? "it" : "them");
  return text;
}

std::string to_html(const Audit& audit) {
  report::Page page("Audit", readable(audit.layout));
  page.tiles({{"pictures", std::to_string(audit.pictures()), ""},
              {"leaks", std::to_string(audit.leaks()), "properties that give the label away"},
              {"copies", std::to_string(count_copies(audit, false)), "groups of equal files"},
              {"across splits", std::to_string(count_copies(audit, true)), "of these"},
              {"unusable", std::to_string(audit.bad_files.size()), "by listing and header"}});
  report::Table counts{"Pictures", {"split", "real", "fake"}, {}};
  for (const SplitCount& s : audit.splits)
    counts.rows.push_back({readable(s.split), std::to_string(s.real), std::to_string(s.fake)});
  page.table(counts);
  page.section("What tells the classes apart without the picture");
  page.text(
      "AUC of each property alone, by the view of it that separates best: 0.5 is chance, 1 gives "
      "every label away. Leak: 0.9 or more. Hint: more than five standard errors above chance. "
      "Categories are judged on rows that were not used to learn them, so that a value which never "
      "comes back counts nothing.");
  report::Table found{"", {"property", "of", "verdict", "view", "AUC", "different values"}, {}, 4};
  for (const Property& p : audit.properties)
    found.rows.push_back({readable(p.name), kind(p), name_of(p.separation.verdict),
                          p.separation.view, fmt::format("{:.4f}", p.separation.auc),
                          std::to_string(p.separation.distinct)});
  page.table(found);
  page.section("Files");
  report::Table shares{"The commonest values", {"property", "value", "real", "fake"}, {}, 2};
  for (const Share& s : audit.shares)
    shares.rows.push_back(
        {s.property, readable(s.value), std::to_string(s.real), std::to_string(s.fake)});
  page.table(shares);
  add_lists(audit, page);
  return page.html();
}

}  // namespace dfengine::audit
