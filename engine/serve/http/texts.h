// Files that the service hands out as they lie in page/, put into the program when it is built
// (embed_texts.cmake).
#pragma once

#include <string_view>

namespace dfengine::serve {

extern const std::string_view kOpenApi, kPageHtml, kPageCss, kPageJs;

}  // namespace dfengine::serve
