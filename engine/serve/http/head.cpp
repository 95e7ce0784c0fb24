#include "engine/serve/http/head.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace dfengine::serve {
namespace {

constexpr std::string_view kBlanks = " \t", kForm = "multipart/form-data";

std::string_view without_blanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// Whether they are equal but for the case of their letters. word has small ones.
bool is_word(std::string_view text, std::string_view word) {
  return std::ranges::equal(text, word, {}, [](unsigned char c) { return std::tolower(c); });
}

// Takes what stands before the next semicolon that no quotes enclose.
std::string_view take_part(std::string_view& text) {
  std::size_t end = 0;
  for (bool quoted = false; end < text.size() && (quoted || text[end] != ';'); ++end)
    if (text[end] == '"') quoted = !quoted;
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return without_blanks(part);
}

void simplify_type(httplib::Request& request) {
  const std::string type = request.get_header_value("Content-Type");
  std::string_view rest = type;
  if (!is_word(take_part(rest), kForm)) return;
  while (!rest.empty()) {
    const std::string_view parameter = take_part(rest);
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || !is_word(parameter.substr(0, equals), "boundary"))
      continue;
    request.headers.erase("Content-Type");
    request.headers.emplace("Content-Type", std::string(kForm) + "; boundary=" +
                                                std::string(parameter.substr(equals + 1)));
    return;
  }
}

}  // namespace

void simplify_head(httplib::Request& request) {
  request.ranges.clear();
  simplify_type(request);
  constexpr std::string_view kScheme = "http://";
  if (request.path.size() > kScheme.size() &&
      is_word(std::string_view(request.path).substr(0, kScheme.size()), kScheme)) {
    const std::size_t path = request.path.find('/', kScheme.size());
    request.path = path == std::string::npos ? "/" : request.path.substr(path);
  }
}

}  // namespace dfengine::serve
