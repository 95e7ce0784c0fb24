#include "engine/serve/http/http_server.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include "engine/serve/http/head.h"
#include "kernels/base/error.h"

namespace dfengine::serve {
namespace {

constexpr int kBacklog = 512;
// Between two requests of a connection.
constexpr std::chrono::milliseconds kIdle{30000};
// Of a request's head. httplib itself takes any number of headers.
constexpr std::size_t kHeadBytes = 65536;

thread_local bool close_after_answer = true;
thread_local Connection* current = nullptr;

[[noreturn]] void refuse(const HttpOptions& options, const std::string& cause) {
  throw UsageError(fmt::format("cannot listen on {}:{}: {}; try another --host or --port",
                               options.host, options.port, cause));
}

UniqueFd listen_on(const HttpOptions& options) {
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string service = std::to_string(options.port);
  if (const int code = ::getaddrinfo(options.host.c_str(), service.c_str(), &hints, &found))
    refuse(options, ::gai_strerror(code));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  int error = 0;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    UniqueFd fd(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int yes = 1;
    if (fd) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd && ::bind(fd.get(), one->ai_addr, one->ai_addrlen) == 0 &&
        ::listen(fd.get(), kBacklog) == 0)
      return fd;
    error = errno;
  }
  refuse(options, std::strerror(error));
}

int port_of(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace

HttpServer::HttpServer(HttpOptions options)
    : options_(std::move(options)),
      listener_(listen_on(options_)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      port_(port_of(listener_->get())) {}

HttpServer::~HttpServer() {
  drain();
  for (std::thread& thread : threads_) thread.join();
}

void HttpServer::drain() {
  draining_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t told = ::write(wake_.get(), &one, sizeof one);
}

void HttpServer::head_is_read(std::size_t body_bytes) {
  current->allow_bytes(body_bytes);
  close_after_answer = false;
}

void HttpServer::close_connection(httplib::Response& response) {
  response.set_header("Connection", "close");
  close_after_answer = true;
}

// False where no connection waits.
bool HttpServer::accept_one() {
  const int socket = ::accept4(listener_->get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket < 0) {
    // Without a free descriptor the connection waits; others of these errors are the client's.
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return errno != EAGAIN && errno != EWOULDBLOCK;
  }
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  const std::lock_guard lock(mutex_);
  try {
    accepted_.push_back(socket);
  } catch (const std::bad_alloc&) {
    ::close(socket);
    return true;
  }
  if (++busy_ > threads_.size() && !add_thread() && threads_.empty()) {
    accepted_.pop_back();
    --busy_;
    ::close(socket);
    return true;
  }
  changed_.notify_one();
  return true;
}

// False where the system has none, or no memory: a connection then waits for one of those that are
// there.
bool HttpServer::add_thread() {
  try {
    threads_.emplace_back([this] { serve_connections(); });
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

void HttpServer::run() {
  for (bool more = true; more;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return busy_ < options_.max_connections; });
    }
    pollfd both[] = {{listener_->get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (!draining_) ::poll(both, 2, -1);
    // Connections that came before drain() are served, too.
    more = accept_one() || !draining_;
  }
  listener_.reset();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return busy_ == 0; });
  over_ = true;
  changed_.notify_all();
}

void HttpServer::serve_connections() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !accepted_.empty() || over_; });
    if (accepted_.empty()) return;
    const int socket = accepted_.front();
    accepted_.pop_front();
    lock.unlock();
    {
      Connection connection(socket);
      serve(connection);
    }
    lock.lock();
    --busy_;
    changed_.notify_all();
  }
}

void HttpServer::serve(Connection& connection) {
  while (connection.wait_for_request(kIdle, draining_)) {
    connection.allow(options_.timeout);
    connection.allow_bytes(kHeadBytes);
    current = &connection;
    close_after_answer = true;
    // A client that was not told of the end may send one more request.
    const bool last = draining_;
    bool closed = false;
    const bool answered = process_request(connection, last, closed, simplify_head);
    if (!answered || closed || close_after_answer || last || connection.cut()) break;
  }
  connection.finish();
}

}  // namespace dfengine::serve
