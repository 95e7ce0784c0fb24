// A web server of one file for tests: one thread, one connection at a time.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace dfengine::test {

class WebServer {
 public:
  struct Behaviour {
    std::string content;
    bool ranges = true;      // else every answer is the whole file
    int status = 0;          // other than 0: this answer instead of the file
    std::size_t cut = ~0uL;  // the connection breaks after so many bytes of the body
  };

  explicit WebServer(Behaviour behaviour) : behaviour_(std::move(behaviour)) {
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (socket_ < 0 || bind(socket_, generic, size) != 0 || listen(socket_, 4) != 0 ||
        getsockname(socket_, generic, &size) != 0)
      throw std::runtime_error("no local server");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;
  ~WebServer() {
    shutdown(socket_, SHUT_RDWR);  // ends accept()
    thread_.join();
    close(socket_);
  }

  std::string url(const std::string& file) const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/models/" + file;
  }
  void behave(Behaviour behaviour) {
    const std::lock_guard lock(mutex_);
    behaviour_ = std::move(behaviour);
  }
  // The heads of the requests so far.
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (int client; (client = accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      std::string head;
      char byte = 0;
      while (head.find("\r\n\r\n") == head.npos && read(client, &byte, 1) == 1) head += byte;
      const std::string reply = answer(head);
      for (std::size_t done = 0; done < reply.size();) {
        const ssize_t n = send(client, reply.data() + done, reply.size() - done, MSG_NOSIGNAL);
        if (n <= 0) break;
        done += static_cast<std::size_t>(n);
      }
      close(client);
    }
  }

  std::string answer(const std::string& head) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(head);
    const Behaviour& b = behaviour_;
    const std::string close_it = "Connection: close\r\n";
    const auto empty = [&](int status) {
      return "HTTP/1.1 " + std::to_string(status) + " x\r\n" + close_it +
             "Content-Length: 4\r\n\r\noops";
    };
    if (b.status != 0) return empty(b.status);
    const std::size_t at = head.find("Range: bytes=");
    const bool partial = b.ranges && at != head.npos;
    const std::size_t from = partial ? std::stoul(head.substr(at + 13)) : 0;
    if (partial && from >= b.content.size()) return empty(416);
    const std::string body = b.content.substr(from);
    return std::string("HTTP/1.1 ") + (partial ? "206" : "200") + " x\r\n" + close_it +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body.substr(0, b.cut);
  }

  int socket_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  Behaviour behaviour_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace dfengine::test
