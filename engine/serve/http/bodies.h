// Pictures out of the bodies of requests, within limits on what is kept of them.
#pragma once

#include <httplib.h>

#include "engine/serve/ticket.h"

namespace dfengine::serve {

struct BodyLimits {
  std::size_t body = std::size_t{32} << 20;  // bytes of one request
  std::size_t pictures = 64;                 // in one request
  std::size_t all = std::size_t{512} << 20;  // bytes of all requests that are being answered
};

// What is wrong with a request, as it is answered.
struct Refusal {
  int code = 400;
  std::string message;
  bool close = false;  // the rest of the body cannot be found: the connection ends with the answer
};

// Where a share of the memory for bodies cannot be had.
Refusal too_busy();

// That a body's chunks and parts may take beside what they hold.
inline constexpr std::size_t kBodySlack = std::size_t{1} << 20;

// Refuses what would leave in doubt where the body ends, and bodies that are packed: a few bytes
// would become any number of them. Throws Refusal.
void check_head(const httplib::Request& request);
// Whether the next request surely begins behind what is read of this one: of some methods httplib
// reads no body, what follows a chunk that is longer than it says it takes for the body's end, and
// a body whose length was not told is none (RFC 9112, 6.3), though a client may send one.
bool is_read_whole(const httplib::Request& request);

// Reads a body, where one was announced, and keeps nothing of it.
bool pass_over(const httplib::Request& request, const httplib::ContentReader& reader);

// Memory for bodies, which all connections share.
class BodyRoom {
 public:
  explicit BodyRoom(std::size_t bytes) : bytes_(bytes) {}
  // One request's part of it, given back at the end.
  class Share {
   public:
    explicit Share(BodyRoom& room) : room_(room) {}
    ~Share() { room_.used_ -= taken_; }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    bool take(std::size_t bytes);

   private:
    BodyRoom& room_;
    std::size_t taken_ = 0;
  };

 private:
  const std::size_t bytes_;
  std::atomic<std::size_t> used_{0};
};

// The pictures of a body: the parts of a multipart one, else the body itself. Nothing is kept of
// one that passes a limit; it is read, so that the connection can go on, unless it has no end.
// Throws Refusal.
std::vector<Picture> read_pictures(const httplib::Request& request,
                                   const httplib::ContentReader& reader, const BodyLimits& limits,
                                   BodyRoom::Share& share);
// The whole body as it is.
std::string read_text(const httplib::Request& request, const httplib::ContentReader& reader,
                      const BodyLimits& limits, BodyRoom::Share& share);

}  // namespace dfengine::serve
