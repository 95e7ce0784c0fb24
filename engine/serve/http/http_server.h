// Listens, and gives each connection a thread; httplib reads requests, finds their handlers and
// writes the answers.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/serve/http/connection.h"
#include "kernels/base/unique_fd.h"

namespace dfengine::serve {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                    // 0: one that is free
  std::size_t max_connections = 256;  // further ones wait until one is free
  std::chrono::milliseconds timeout{
      30000};  // for a request to be there, and for each write of its answer
};

class HttpServer : public httplib::Server {
 public:
  // Binds. Throws UsageError where the address cannot be had.
  explicit HttpServer(HttpOptions options);
  ~HttpServer() override;

  int port() const { return port_; }
  // Serves until drain(), and returns when everything that came before it is answered.
  void run();
  // Any thread: no further connections, an answer for every request that has come, then the end.
  void drain();
  bool draining() const { return draining_; }

  // Of the handler before routing: the request's head was understood, so that the next one can be
  // found behind its body, of so many bytes at most. Where nobody says so the connection ends with
  // the answer.
  static void head_is_read(std::size_t body_bytes);
  // Of a handler: it ends all the same, because the body may not be read to its end.
  static void close_connection(httplib::Response& response);

 private:
  bool accept_one();
  bool add_thread();
  void serve_connections();
  void serve(Connection& connection);

  const HttpOptions options_;
  std::optional<UniqueFd> listener_;
  UniqueFd wake_;
  int port_ = 0;
  std::atomic<bool> draining_{false};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<int> accepted_;  // that no thread has taken
  std::size_t busy_ = 0;      // connections, those that wait for their thread among them
  bool over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace dfengine::serve
