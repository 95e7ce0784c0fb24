// Runs the program as a person does: arguments in, exit code, standard output and error out.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/places.h"

extern char** environ;

namespace dfengine::test {

struct Outcome {
  int code = -1;  // 128 + number for a signal, as shells have it
  std::string out, err;
};

// Called with all of standard output so far, whenever there is more.
using OnOutput = std::function<void(pid_t, const std::string& out)>;

namespace detail {

struct Pipe {
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  }
  ~Pipe() {
    for (int end : ends)
      if (end >= 0) close(end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_writer() { close(std::exchange(ends[1], -1)); }
  std::array<int, 2> ends{};
};

inline pid_t spawn(const std::vector<std::string>& arguments, int out, int err) {
  std::vector<char*> argv;
  std::string program = test::program();
  argv.push_back(program.data());
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t child = -1;
  const int failed = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start " + program);
  return child;
}

inline int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace detail

inline Outcome run_program(const std::vector<std::string>& arguments, const OnOutput& watch = {}) {
  detail::Pipe out, err;
  const pid_t child = detail::spawn(arguments, out.ends[1], err.ends[1]);
  out.close_writer();
  err.close_writer();
  Outcome result;
  std::array<pollfd, 2> open = {pollfd{out.ends[0], POLLIN, 0}, pollfd{err.ends[0], POLLIN, 0}};
  const std::array<std::string*, 2> texts = {&result.out, &result.err};
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    if (poll(open.data(), open.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (open[i].fd < 0 || open[i].revents == 0) continue;
      std::array<char, 4096> chunk;
      const ssize_t n = read(open[i].fd, chunk.data(), chunk.size());
      if (n <= 0) {
        open[i].fd = -1;  // poll() passes over it
      } else {
        texts[i]->append(chunk.data(), static_cast<std::size_t>(n));
        if (i == 0 && watch) watch(child, result.out);
      }
    }
  }
  result.code = detail::wait_for(child);
  return result;
}

// The same with standard output going to a file or device.
inline int run_program_into(const char* target, const std::vector<std::string>& arguments) {
  const int out = open(target, O_WRONLY | O_CLOEXEC);
  const int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
  const int code = detail::wait_for(detail::spawn(arguments, out, quiet));
  close(out);
  close(quiet);
  return code;
}

}  // namespace dfengine::test
