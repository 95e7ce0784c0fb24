// Base64 as RFC 4648 has it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dfengine::serve {

// The bytes of a text with or without padding; nothing where it is no base64.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace dfengine::serve
