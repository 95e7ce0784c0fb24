// Clients that ask a running service without a pause and check each answer.
// Usage: service_load PORT CLIENTS SECONDS EXPECTED.json FILE...
//   EXPECTED.json  what `dfengine predict --format json` says of the files; -: answers are not compared
// Prints one line of JSON: answers, wrong ones, 429s, connections that ended without an answer
// after a request was sent, answers a second, milliseconds at the median and the 99th percentile.
// DFENGINE_LOAD_KEEP=0: a connection for each request.
#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

struct Load {
  int port = 0;
  double seconds = 0;
  bool keep = true;
  std::vector<std::string> bytes;
  std::vector<double> expected;
  std::atomic<long> answered{0}, wrong{0}, busy{0}, other{0}, lost{0}, refused{0};
  std::mutex mutex;
  std::vector<double> milliseconds;
};

void ask(Load& load, std::size_t who) {
  httplib::Client client("127.0.0.1", load.port);
  client.set_keep_alive(load.keep);
  client.set_read_timeout(120);
  client.set_tcp_nodelay(true);
  std::vector<double> mine;
  const auto end = Clock::now() + std::chrono::duration<double>(load.seconds);
  for (std::size_t n = who; Clock::now() < end; ++n) {
    const std::size_t i = n * 13 % load.bytes.size();
    const auto begin = Clock::now();
    const auto answer = client.Post("/classify", load.bytes[i], "image/jpeg");
    if (!answer) {
      // A service that is gone refuses the connection; all else is a request without its answer.
      if (answer.error() == httplib::Error::Connection) {
        ++load.refused;
        break;
      }
      ++load.lost;
    } else if (answer->status == 429) {
      ++load.busy;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } else if (answer->status != 200) {
      ++load.other;
    } else {
      ++load.answered;
      mine.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      const json prob = json::parse(answer->body).at("results")[0].at("prob_fake");
      load.wrong += !load.expected.empty() && prob != load.expected[i];
    }
  }
  const std::lock_guard lock(load.mutex);
  load.milliseconds.insert(load.milliseconds.end(), mine.begin(), mine.end());
}

std::string slurp(const char* file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::fprintf(stderr, "usage: %s PORT CLIENTS SECONDS EXPECTED.json FILE...\n", argv[0]);
    return 2;
  }
  const char* keep = std::getenv("DFENGINE_LOAD_KEEP");
  Load load;
  load.port = std::atoi(argv[1]);
  load.seconds = std::atof(argv[3]);
  load.keep = keep == nullptr || *keep != '0';
  std::map<std::string, double> expected;
  const bool compare = std::string_view(argv[4]) != "-";
  const json report = compare ? json::parse(slurp(argv[4])) : json{{"results", json::array()}};
  for (const json& one : report.at("results")) expected[one.at("path")] = one.at("prob_fake");
  for (int i = 5; i < argc; ++i) {
    load.bytes.push_back(slurp(argv[i]));
    if (compare) load.expected.push_back(expected.at(argv[i]));
  }
  const auto begin = Clock::now();
  std::vector<std::thread> clients;
  for (int c = 0; c < std::atoi(argv[2]); ++c)
    clients.emplace_back([&, c] { ask(load, static_cast<std::size_t>(c)); });
  for (std::thread& client : clients) client.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::ranges::sort(load.milliseconds);
  const auto at = [&](double share) {
    const std::size_t n = load.milliseconds.size();
    return n == 0 ? 0
                  : load.milliseconds[std::min(
                        n - 1, static_cast<std::size_t>(share * static_cast<double>(n)))];
  };
  const json line = {{"answered", load.answered.load()},
                     {"wrong", load.wrong.load()},
                     {"busy", load.busy.load()},
                     {"other", load.other.load()},
                     {"lost", load.lost.load()},
                     {"per_second", static_cast<double>(load.answered) / seconds},
                     {"p50_ms", at(0.5)},
                     {"p99_ms", at(0.99)}};
  std::printf("%s\n", line.dump().c_str());
  return load.wrong == 0 ? 0 : 1;
}
