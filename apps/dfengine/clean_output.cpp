#include "apps/dfengine/clean_output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <span>

#include "kernels/base/file_lock.h"

namespace dfengine {
namespace {

// A descriptor, and the beginning of a character whose end is not printed yet. What is buffered is
// written after static objects are gone, so that there is nothing to destroy.
struct Sink {
  int fd;
  std::array<char, 3> begun{};
  std::size_t begun_bytes = 0;
};

bool put(int fd, std::string_view text) {
  return write_all(fd, std::as_bytes(std::span(text)));
}

// The bytes of a character by its first one; 0 where none begins so.
std::size_t length_of(unsigned char first) {
  const int ones = std::countl_one(first);
  if (ones == 0) return 1;
  return ones >= 2 && ones <= 4 ? static_cast<std::size_t>(ones) : 0;
}

bool goes_on(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// How many bytes at the end are the beginning of a character.
std::size_t begun_at_end(std::string_view text) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(3, text.size()); ++n) {
    const char c = text[text.size() - n];
    if (!goes_on(c)) return length_of(static_cast<unsigned char>(c)) > n ? n : 0;
  }
  return 0;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (first < ' ' || first == 0x7F) return first != '\n' && first != '\t';
  // U+0080 to U+009F.
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

// Of fopencookie: 0 is its error.
ssize_t write_visible(void* cookie, const char* bytes, std::size_t count) {
  auto& sink = *static_cast<Sink*>(cookie);
  std::string text(sink.begun.data(), sink.begun_bytes);
  text.append(bytes, count);
  sink.begun_bytes = begun_at_end(text);
  const std::size_t whole = text.size() - sink.begun_bytes;
  text.copy(sink.begun.data(), sink.begun_bytes, whole);
  text.resize(whole);
  return put(sink.fd, visible(text)) ? static_cast<ssize_t>(count) : 0;
}

void clean(FILE*& stream, Sink& sink, int buffering) {
  std::fflush(stream);
  FILE* const made = fopencookie(
      &sink, "w", {.read = nullptr, .write = write_visible, .seek = nullptr, .close = nullptr});
  if (made == nullptr) return;
  std::setvbuf(made, nullptr, buffering, BUFSIZ);
  stream = made;
}

}  // namespace

std::string visible(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = length_of(static_cast<unsigned char>(text[i]));
    const std::string_view character = text.substr(i, std::max<std::size_t>(n, 1));
    const bool whole =
        n > 0 && character.size() == n && std::ranges::all_of(character.substr(1), goes_on);
    i += whole ? n : 1;
    if (whole && !is_control(character)) {
      out += character;
      continue;
    }
    for (const char c : whole ? character : character.substr(0, 1))
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}

void clean_output() {
  static Sink out{STDOUT_FILENO}, error{STDERR_FILENO};
  clean(stdout, out, isatty(STDOUT_FILENO) == 1 ? _IOLBF : _IOFBF);
  clean(stderr, error, _IONBF);
}

void command_terminal(std::string_view text) {
  std::fflush(stderr);
  put(STDERR_FILENO, text);
}

}  // namespace dfengine
