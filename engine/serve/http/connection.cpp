#include "engine/serve/http/connection.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace dfengine::serve {
namespace {

using std::chrono::milliseconds;

// A server that stops looks at its flag so often.
constexpr milliseconds kGlance{50};
// So long it waits for a further request of a client that has not been told.
constexpr milliseconds kLastWait{1000};
// After the answer: what the client still sends is read so long, for closing over unread bytes
// would throw away what it has not read yet.
constexpr milliseconds kLinger{500};
// httplib reads lines byte by byte and keeps all of one; it has 8 KiB for an address and for a
// header.
constexpr std::size_t kLongestLine = 16384;

void address_of(const sockaddr_storage& address, socklen_t size, std::string& ip, int& port) {
  char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof host, service,
                    sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

Connection::~Connection() {
  ::close(socket_);
}

void Connection::allow(milliseconds time) {
  allowed_ = time;
  until_ = Clock::now() + time;
}

milliseconds Connection::left() const {
  const auto left = std::chrono::duration_cast<milliseconds>(until_ - Clock::now());
  return std::max(left, milliseconds(0));
}

bool Connection::ready(short events, milliseconds time) const {
  const auto until = Clock::now() + time;
  for (;;) {
    pollfd one = {socket_, events, 0};
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    const int n = ::poll(&one, 1, static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

bool Connection::fill() {
  begin_ = end_ = 0;
  for (;;) {
    if (left().count() == 0) return false;
    const ssize_t n = ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (n > 0) end_ = static_cast<std::size_t>(n);
    if (n >= 0) return n > 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    if (!ready(POLLIN, left())) return false;
  }
}

bool Connection::wait_for_request(milliseconds patience, const std::atomic<bool>& stop) {
  allow(patience);
  milliseconds waited{0}, stopped{0};
  while (begin_ == end_) {
    if (ready(POLLIN, kGlance)) return fill();
    waited += kGlance;
    if (stop) stopped += kGlance;
    if (waited >= patience || stopped >= kLastWait) return false;
  }
  return true;
}

ssize_t Connection::read(char* to, std::size_t size) {
  if (size == 0) return 0;
  cut_ = cut_ || most_ == 0 || line_ > kLongestLine;
  if (!cut_ && begin_ == end_ && !fill()) {
    if (left().count() > 0) return 0;
    cut_ = true;
  }
  if (cut_) return -1;
  const std::size_t n = std::min({size, end_ - begin_, most_});
  std::copy_n(buffer_.data() + begin_, n, to);
  begin_ += n;
  most_ -= n;
  line_ = size == 1 && *to != '\n' ? line_ + 1 : 0;
  return static_cast<ssize_t>(n);
}

ssize_t Connection::write(const char* from, std::size_t size) {
  for (;;) {
    const ssize_t n = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
    if (!ready(POLLOUT, allowed_)) return -1;
  }
}

void Connection::finish() {
  if (::shutdown(socket_, SHUT_WR) != 0) return;
  allow(kLinger);
  while (fill()) {
  }
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0)
    address_of(address, size, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0)
    address_of(address, size, ip, port);
}

}  // namespace dfengine::serve
