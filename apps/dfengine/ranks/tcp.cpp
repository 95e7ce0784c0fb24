#include "apps/dfengine/ranks/tcp.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/base/unique_fd.h"

namespace dfengine {
namespace {

constexpr int kSeconds = 60;  // that ranks may start apart

// What a rank says when it connects, and rank 0 of all when they are there.
struct Greeting {
  std::array<char, 8> magic = {'d', 'f', 'r', 'a', 'n', 'k', 's', '1'};
  std::int32_t rank = 0, size = 0;
  std::int32_t port = 0;  // where it listens
  std::array<char, 52> address = {};
};

[[noreturn]] void fail(const std::string& what) {
  throw Error(what + ": " + std::strerror(errno));
}

// Waits until the socket can be read or written, at most so long; throws Error that says for whom.
void wait_for(int fd, short events, const std::string& whom) {
  pollfd waited{fd, events, 0};
  const int ready = poll(&waited, 1, kSeconds * 1000);
  if (ready == 0)
    throw Error("waited " + std::to_string(kSeconds) + " s for " + whom +
                ": start all ranks, with the same WORLD_SIZE");
  if (ready < 0) fail("waiting for " + whom);
}

UniqueFd listen_at(int port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_ANY);
  where.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0)
    fail("cannot listen on port " + std::to_string(port));
  return fd;
}

int port_of(const UniqueFd& fd) {
  sockaddr_in where{};
  socklen_t length = sizeof where;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&where), &length);
  return ntohs(where.sin_port);
}

// Small messages must not wait for more.
UniqueFd ready(UniqueFd fd) {
  const int yes = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

UniqueFd connect_to(const std::string& address, int port, const std::string& whom) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    throw Error("the address of " + whom + " is unknown: " + address);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(kSeconds);
  while (true) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), found->ai_addr, found->ai_addrlen) == 0) return ready(std::move(fd));
    if (std::chrono::steady_clock::now() > until)
      fail("cannot reach " + whom + " at " + address + ":" + std::to_string(port));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

class TcpCommunicator final : public Communicator {
 public:
  explicit TcpCommunicator(const Rendezvous& at) : rank_(at.rank), size_(at.size) {
    const UniqueFd listener = listen_at(rank_ == 0 ? at.port : 0);
    Greeting mine;
    mine.rank = rank_;
    mine.size = size_;
    mine.port = port_of(listener);
    std::vector<Greeting> all(static_cast<std::size_t>(size_));
    if (rank_ == 0) {
      while (std::ssize(peers_) < size_ - 1) {
        const Greeting theirs = accept_from(listener);
        all[static_cast<std::size_t>(theirs.rank)] = theirs;
      }
      for (const auto& [rank, fd] : peers_) give(rank, std::as_bytes(std::span(all)));
    } else {
      peers_.emplace(0, connect_to(at.address, at.port, "rank 0"));
      give(0, std::as_bytes(std::span(&mine, 1)));
      take(0, std::as_writable_bytes(std::span(all)));
    }
    meet_partners(listener, mine, all);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

 private:
  // Higher ranks connect to lower ones. With rank 0 all are connected.
  void meet_partners(const UniqueFd& listener, const Greeting& mine,
                     const std::vector<Greeting>& all) {
    for (int distance = 1; distance < size_; distance *= 2) {
      const int partner = rank_ ^ distance;
      if (partner == 0 || partner > rank_ || partner >= size_) continue;
      const Greeting& there = all[static_cast<std::size_t>(partner)];
      peers_.emplace(partner, connect_to(there.address.data(), there.port, name(partner)));
      give(partner, std::as_bytes(std::span(&mine, 1)));
    }
    for (int distance = 1; rank_ != 0 && distance < size_; distance *= 2)
      if ((rank_ & distance) == 0 && (rank_ | distance) < size_) accept_from(listener);
  }

  Greeting accept_from(const UniqueFd& listener) {
    wait_for(listener.get(), POLLIN,
             "other ranks, of which " + std::to_string(peers_.size()) + " are there");
    sockaddr_in from{};
    socklen_t length = sizeof from;
    UniqueFd fd(accept4(listener.get(), reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC));
    if (fd.get() < 0) fail("no connection from another rank");
    Greeting theirs;
    move(ready(std::move(fd)), theirs);
    inet_ntop(AF_INET, &from.sin_addr, theirs.address.data(), theirs.address.size());
    return theirs;
  }

  void move(UniqueFd fd, Greeting& theirs) {
    const std::span bytes = std::as_writable_bytes(std::span(&theirs, 1));
    for (std::size_t done = 0; done < bytes.size();) {
      wait_for(fd.get(), POLLIN, "a rank that connected");
      const ssize_t n = recv(fd.get(), bytes.data() + done, bytes.size() - done, 0);
      if (n <= 0) throw Error("a connection ended before it said which rank it is");
      done += static_cast<std::size_t>(n);
    }
    if (theirs.magic != Greeting{}.magic || theirs.size != size_ || theirs.rank <= 0 ||
        theirs.rank >= size_ || peers_.contains(theirs.rank))
      throw Error("who connected is no rank of this run of " + std::to_string(size_) +
                  ", or a rank that is there already");
    peers_.emplace(theirs.rank, std::move(fd));
  }

  std::string name(int rank) const {
    return "rank " + std::to_string(rank) + " of " + std::to_string(size_);
  }
  void give(int rank, std::span<const std::byte> out) { exchange(rank, out, {}); }
  void take(int rank, std::span<std::byte> in) { exchange(rank, {}, in); }

  // Both ways at once: two ranks that only sent would fill the buffers and wait for ever.
  void exchange(int rank, std::span<const std::byte> out, std::span<std::byte> in) override {
    const int fd = peers_.at(rank).get();
    while (!out.empty() || !in.empty()) {
      pollfd waited{fd, static_cast<short>((out.empty() ? 0 : POLLOUT) | (in.empty() ? 0 : POLLIN)),
                    0};
      if (poll(&waited, 1, -1) < 0 && errno != EINTR) fail("waiting for " + name(rank));
      if (!in.empty() && (waited.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        const ssize_t n = recv(fd, in.data(), in.size(), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) ended(rank);
        if (n > 0) in = in.subspan(static_cast<std::size_t>(n));
      }
      if (!out.empty() && (waited.revents & (POLLOUT | POLLHUP | POLLERR)) != 0) {
        const ssize_t n = send(fd, out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) ended(rank);
        if (n > 0) out = out.subspan(static_cast<std::size_t>(n));
      }
    }
  }

  [[noreturn]] void ended(int rank) const {
    throw Error(name(rank) +
                " has ended; its own message says why, and the last checkpoint is "
                "whole: go on with --resume");
  }

  int rank_, size_;
  std::map<int, UniqueFd> peers_;
};

}  // namespace

std::unique_ptr<Communicator> join_over_tcp(const Rendezvous& at) {
  return std::make_unique<TcpCommunicator>(at);
}

}  // namespace dfengine
