// A connection as httplib reads and writes it, with a time by which a whole request must be there
// and a number of bytes that it may have: a client that never stops sending holds its thread no
// longer and costs no more memory than that.
#pragma once

#include <httplib.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <chrono>

namespace dfengine::serve {

class Connection final : public httplib::Stream {
 public:
  // Takes the socket, which must not block, and closes it.
  explicit Connection(int socket) : socket_(socket) {}
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Waits for the first byte of a request. False where the client closed, or sent nothing for so
  // long; after *stop became true it waits a second more, for what is on its way.
  bool wait_for_request(std::chrono::milliseconds patience, const std::atomic<bool>& stop);
  // From now on reading ends at this time, and each write gets as long from its beginning.
  void allow(std::chrono::milliseconds time);
  // From now on reading ends after so many bytes.
  void allow_bytes(std::size_t bytes) { most_ = bytes; }
  // Reading ended by what was allowed: where the next request begins is not known.
  bool cut() const { return cut_; }
  // Lets the client read to the end before the socket goes.
  void finish();

  bool is_readable() const override { return begin_ < end_ || ready(POLLIN, left()); }
  bool is_writable() const override { return ready(POLLOUT, allowed_); }
  ssize_t read(char* to, std::size_t size) override;
  ssize_t write(const char* from, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::milliseconds left() const;
  bool ready(short events, std::chrono::milliseconds time) const;
  bool fill();

  int socket_;
  std::chrono::milliseconds allowed_{0};
  Clock::time_point until_;
  std::array<char, 16384> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::size_t most_ = 0, line_ = 0;
  bool cut_ = false;
};

}  // namespace dfengine::serve
