// Many pictures through the C interface: threads with sessions of their own over one model. Every
// answer must be the first one's, bit for bit, and resident memory must stay where it was after the
// warm-up.
// Usage: interface_soak MODEL PICTURES THREADS FILE...    exit code 1 where an answer or memory is wrong
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "engine/interface/dfengine.hpp"

namespace {

constexpr long kAllowedGrowth = 1024;  // KiB

long resident_kib() {
  std::ifstream stream("/proc/self/status");
  for (std::string line; std::getline(stream, line);)
    if (line.rfind("VmRSS:", 0) == 0) return std::atol(line.c_str() + 6);
  return 0;
}

struct Work {
  std::vector<std::string> names, bytes;
  std::vector<double> expected;
  std::atomic<long> left{0}, done{0}, wrong{0};
};

// Files and encoded bytes by turns, several a call.
void classify_all(const df::Model& model, Work& work) {
  auto options = df::sized<df_session_options>();
  options.threads = 1;
  options.batch = 4;
  df::Session session(model, options);
  constexpr std::size_t kCall = 8;
  while (true) {
    const long first = work.left.fetch_sub(kCall);
    if (first <= 0) return;
    std::vector<df_picture> pictures;
    std::vector<std::size_t> which;
    for (std::size_t k = 0; k < kCall; ++k) {
      const std::size_t i = (static_cast<std::size_t>(first) * 7 + k) % work.names.size();
      which.push_back(i);
      pictures.push_back(k % 2 ? df::file(work.names[i].c_str())
                               : df::encoded(work.bytes[i].data(), work.bytes[i].size()));
    }
    const df::Results results = session.classify(pictures);
    for (std::size_t k = 0; k < kCall; ++k)
      work.wrong += results[k].status != DF_OK || results[k].probability != work.expected[which[k]];
    work.done += kCall;
  }
}

// Resident memory while the same sessions work: when a tenth is done, and the most that it is
// later.
struct Memory {
  long warm = 0, most = 0;
};

Memory run(const df::Model& model, Work& work, int threads, long pictures) {
  work.left = pictures;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) all.emplace_back([&] { classify_all(model, work); });
  Memory memory;
  while (work.left > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (work.done < pictures / 10) continue;
    const long now = resident_kib();
    if (memory.warm == 0) memory.warm = now;
    memory.most = std::max(memory.most, now);
  }
  for (std::thread& t : all) t.join();
  return memory;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::fprintf(stderr, "usage: %s MODEL PICTURES THREADS FILE...\n", argv[0]);
    return 2;
  }
  const df::Model model(argv[1]);
  const long pictures = std::atol(argv[2]);
  const int threads = std::atoi(argv[3]);
  Work work;
  df::Session session(model);
  for (int i = 4; i < argc; ++i) {
    work.names.emplace_back(argv[i]);
    std::ifstream stream(argv[i], std::ios::binary);
    work.bytes.emplace_back(std::istreambuf_iterator<char>(stream),
                            std::istreambuf_iterator<char>());
    const df::Results one = session.classify({df::file(argv[i])});
    if (one[0].status != DF_OK) throw df::Error(DF_BAD_DATA, one[0].error);
    work.expected.push_back(one[0].probability);
    std::printf("%.17g %s\n", one[0].probability, argv[i]);  // for a comparison with predict
  }
  const Memory memory = run(model, work, threads, pictures);
  const long grown = memory.most - memory.warm;
  std::fprintf(stderr, "%ld pictures, %d threads: %ld wrong, resident %ld KiB, grown by %ld KiB\n",
               work.done.load(), threads, work.wrong.load(), memory.warm, grown);
  return work.wrong == 0 && grown < kAllowedGrowth ? 0 : 1;
} catch (const df::Error& e) {
  std::fprintf(stderr, "interface_soak: %s\n", e.what());
  return e.status();
}
