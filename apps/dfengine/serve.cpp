// dfengine serve: models behind HTTP.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <string_view>
#include <thread>
#include <utility>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/common.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/model.h"
#include "apps/dfengine/arguments/pictures.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/commands.h"
#include "engine/serve/http/service.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

struct Arguments {
  std::vector<std::string> models;
  std::filesystem::path key_file;
  serve::ServiceOptions service;
  int max_batch = 32, max_queue = 256, max_pictures = 64, max_body = 32, max_connections = 256;
  double max_delay = 2, timeout = 30;
  Index max_pixels = kMaxImagePixels;
  bool no_log = false;
  DeviceOptions device;
};

// NAME=FILE, or FILE, whose name is then the file's without its ending. A folder may end in a
// slash.
serve::ModelFile model_file(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals != std::string::npos && text.find('/') > equals)
    return {text.substr(0, equals), text.substr(equals + 1)};
  const std::filesystem::path file = text;
  return {(file.has_filename() ? file : file.parent_path()).stem().string(), file};
}

// A key a line, without the blanks around it, which no header keeps; empty lines and those that
// begin with # are none.
std::vector<std::string> read_keys(const std::filesystem::path& file) {
  if (file.empty()) return {};
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF", kBlanks = " \t\r";
  std::ifstream stream(file);
  std::vector<std::string> keys;
  bool at_begin = true;
  for (std::string line; std::getline(stream, line);) {
    std::string_view key = line;
    if (std::exchange(at_begin, false) && key.starts_with(kByteOrderMark))
      key.remove_prefix(kByteOrderMark.size());
    key.remove_prefix(std::min(key.find_first_not_of(kBlanks), key.size()));
    key = key.substr(0, key.find_last_not_of(kBlanks) + 1);
    if (key.empty() || key.front() == '#') continue;
    keys.emplace_back(key);
  }
  if (!stream.eof()) throw DataError(file.string() + ": the key file cannot be read");
  if (keys.empty()) throw DataError(file.string() + ": no key in it: it has one a line");
  return keys;
}

void say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stderr);
}

// No request carries a table.
void print_unread_columns_of_all(const Arguments& a, const serve::Models& models) {
  for (const std::string& text : a.models) {
    const serve::ModelFile one = model_file(text);
    print_unread_columns(one.file, models.find(one.name)->model);
  }
}

void reload(const Arguments& a, serve::Models& models, serve::Service& service,
            serve::Metrics& metrics) {
  models.reload([](const std::string& line) { say("dfengine: " + line); }, metrics);
  print_unread_columns_of_all(a, models);
  try {
    service.set_keys(read_keys(a.key_file));
  } catch (const Error& e) {
    say(fmt::format("dfengine: the keys stay as they were: {}", e.what()));
  }
}

// Waits for signals, which every thread has blocked.
void obey(const sigset_t& signals, const Arguments& a, serve::Models& models,
          serve::Service& service, serve::Metrics& metrics) {
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) break;
    reload(a, models, service, metrics);
  }
  say("dfengine: going down: what came in is answered first, and a second signal ends it at once");
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  service.drain();
}

void run_serve(Arguments& a) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
#ifdef M_ARENA_MAX
  // glibc gives connections eight arenas a processor, whose free parts add up under load.
  mallopt(M_ARENA_MAX, a.device.thread_count());
#endif
  a.device.resolve();
  if (a.max_pictures > a.max_queue)
    throw UsageError("--max-pictures is more than --max-queue: no such request could be answered");
  using std::chrono::duration_cast;
  serve::ServiceOptions& options = a.service;
  options.limits.body = static_cast<std::size_t>(a.max_body) << 20;
  options.limits.all = std::max(options.limits.all, 4 * options.limits.body);
  options.limits.pictures = static_cast<std::size_t>(a.max_pictures);
  options.http.max_connections = static_cast<std::size_t>(a.max_connections);
  options.http.timeout =
      duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(a.timeout));
  options.keys = read_keys(a.key_file);
  serve::Metrics metrics;
  serve::Scorer scorer({.threads = a.device.thread_count(),
                        .device = a.device.kind(),
                        .config = a.device.config(),
                        .max_batch = a.max_batch,
                        .max_delay = duration_cast<std::chrono::microseconds>(
                            std::chrono::duration<double, std::milli>(a.max_delay)),
                        .max_waiting = static_cast<std::size_t>(a.max_queue),
                        .max_pixels = a.max_pixels},
                       metrics);
  std::vector<serve::ModelFile> files;
  for (const std::string& model : a.models) files.push_back(model_file(model));
  serve::Models models(std::move(files), scorer);
  print_unread_columns_of_all(a, models);
  const auto log = a.no_log ? std::function<void(const std::string&)>() : say;
  serve::Service service(options, scorer, models, metrics, log);
  fmt::print("listening on http://{}:{}\n", options.http.host, service.port());
  std::fflush(stdout);
  std::thread server([&] { service.run(); });
  obey(signals, a, models, service, metrics);
  server.join();
}

CLI::Option* add_limit(CLI::App& command, const char* flag, int& value, const char* help,
                       int least = 1, int most = 1 << 20) {
  return command.add_option(flag, value, help)->check(within(least, most))->capture_default_str();
}

}  // namespace

void add_serve(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "serve", "Answer over HTTP: a page for people, JSON for programs.",
      "POST a picture to /classify, or several as multipart/form-data; /explain gives a heat map "
      "as PNG; /v2 speaks the Open Inference Protocol of KServe and Triton; /metrics is for "
      "Prometheus, /openapi.json describes all of it, and / is a page to drop pictures on. What "
      "is sent is kept nowhere.\n"
      "Pictures of different requests go through the network together. Where more wait than "
      "--max-queue, a request gets 429 and Retry-After. Each request leaves a JSON line on "
      "standard error. There is no TLS: put a proxy in front of it before it leaves this "
      "machine.\n"
      "With a GPU, quantized models and heat maps are still computed on the CPU.\n"
      "SIGTERM and Ctrl-C answer what came in and end; SIGHUP loads the model and key files anew, "
      "and no request is lost.",
      run_serve);
  command
      .add_option(
          "--model", a.models,
          "Model file, or NAME=FILE; again for further ones, which requests name by ?model=NAME. "
          "The first is for requests that name none.")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--host", a.service.http.host, "Address to listen on; 0.0.0.0 is all of them.")
      ->capture_default_str();
  add_limit(command, "--port", a.service.http.port,
            "Port to listen on, up to 65535. 0 is one that is free, which is printed.", 0, 65535);
  command
      .add_option("--api-key-file", a.key_file,
                  "File with a key a line; lines that begin with # are none. A request then needs "
                  "one of them, as Authorization: Bearer KEY or X-API-Key: KEY; the page and "
                  "/v2/health do not.")
      ->default_str("none: everyone who can reach the port may ask");
  add_limit(command, "--max-batch", a.max_batch, "Pictures that go through the network together.");
  command
      .add_option("--max-delay", a.max_delay,
                  "Milliseconds that a picture waits for others of its batch, at least 0.")
      ->check(within(0.0, 10000.0))
      ->capture_default_str();
  add_limit(command, "--max-queue", a.max_queue, "Pictures that may wait.");
  add_limit(command, "--max-pictures", a.max_pictures, "Pictures of one request.");
  add_limit(command, "--max-body", a.max_body, "MiB of one request.");
  add_limit(command, "--max-connections", a.max_connections,
            "Connections that are served at once, each by a thread; further ones wait.");
  command
      .add_option("--timeout", a.timeout,
                  "Seconds within which a request must have come and be answered.")
      ->check(within(0.1, 86400.0))
      ->capture_default_str();
  add_max_pixels(command, a.max_pixels);
  command.add_flag("--no-log", a.no_log, "No line for each request.");
  a.device.add_to(command);
}

}  // namespace dfengine
