// A client that sends what no library would.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <stdexcept>
#include <string>

#include "kernels/base/unique_fd.h"

namespace dfengine::test {

class RawClient {
 public:
  explicit RawClient(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect");
  }
  bool send(const std::string& bytes) const {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n =
          ::send(socket_.get(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (n <= 0) return false;
      done += static_cast<std::size_t>(n);
    }
    return true;
  }
  void end_sending() const { ::shutdown(socket_.get(), SHUT_WR); }
  // All that comes until the server closes, or until so long nothing came.
  std::string receive(std::chrono::milliseconds patience = std::chrono::seconds(20)) const {
    std::string all;
    pollfd one = {socket_.get(), POLLIN, 0};
    char chunk[4096];
    while (::poll(&one, 1, static_cast<int>(patience.count())) > 0) {
      const ssize_t n = ::recv(socket_.get(), chunk, sizeof chunk, 0);
      if (n <= 0) break;
      all.append(chunk, static_cast<std::size_t>(n));
    }
    return all;
  }

 private:
  UniqueFd socket_;
};

}  // namespace dfengine::test
