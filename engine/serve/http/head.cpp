#include "engine/serve/http/head.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "engine/data/sets/class_names.h"

namespace dfengine::serve {
namespace {

constexpr std::string_view kForm = "multipart/form-data";

// Takes what stands before the next semicolon that no quotes enclose.
std::string_view take_part(std::string_view& text) {
  std::size_t end = 0;
  for (bool quoted = false; end < text.size() && (quoted || text[end] != ';'); ++end)
    if (text[end] == '"') quoted = !quoted;
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return trimmed_field(part);
}

void simplify_type(httplib::Request& request) {
  const std::string type = request.get_header_value("Content-Type");
  std::string_view rest = type;
  if (lower_case(take_part(rest)) != kForm) return;
  while (!rest.empty()) {
    const std::string_view parameter = take_part(rest);
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || lower_case(parameter.substr(0, equals)) != "boundary")
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
  if (lower_case(request.path.substr(0, kScheme.size())) == kScheme) {
    const std::size_t path = request.path.find('/', kScheme.size());
    request.path = path == std::string::npos ? "/" : request.path.substr(path);
  }
}

}  // namespace dfengine::serve
