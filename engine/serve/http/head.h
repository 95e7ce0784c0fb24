// The head of a request before it is looked at.
#pragma once

#include <httplib.h>

namespace dfengine::serve {

// Puts a head into the words that httplib goes by:
// * No answer here has parts, and a server may ignore Range (RFC 9110, 14.2). httplib would cut
//   every answer by it, and repeat a part as often as it is named.
// * The type multipart/form-data may be written in any case and have parameters beside its
//   boundary.
// * A target may name this server (RFC 9112, 3.2.2).
void simplify_head(httplib::Request& request);

}  // namespace dfengine::serve
