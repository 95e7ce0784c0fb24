// Text for pages and charts: escaping, numbers, and how wide a line will be.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kernels/base/shape.h"

namespace dfengine::report {

// Makes text fit for the content and the attribute values of HTML and XML elements: & < > " '
// become entities; control characters that XML forbids and bytes that are not UTF-8 become U+FFFD.
std::string escape(std::string_view text);

// Estimates the width of a line of sans-serif text, in units of its font size. It errs on the wide
// side.
double text_width(std::string_view text);
// The text, or its beginning and "…", so that text_width(result) <= width. It is not escaped.
std::string shorten(std::string_view text, double width);

// Text of the form "data:MIME;base64,...".
std::string data_uri(std::string_view mime, std::span<const std::byte> bytes);

}  // namespace dfengine::report
