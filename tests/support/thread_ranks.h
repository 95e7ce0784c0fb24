// Ranks that are threads of one process.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/runtime/ranks/communicator.h"

namespace dfengine::test {

class ThreadRanks {
 public:
  // Calls body(ranks) on so many threads, each with its own communicator, and throws what the
  // first of them threw.
  static void run(int size, const std::function<void(Communicator&)>& body) {
    Mail mail;
    std::vector<std::exception_ptr> errors(at(size));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank)
      threads.emplace_back([&, rank] {
        Rank ranks(rank, size, mail);
        try {
          body(ranks);
        } catch (...) {
          errors[at(rank)] = std::current_exception();
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

 private:
  struct Mail {
    std::mutex mutex;
    std::condition_variable came;
    std::map<std::pair<int, int>, std::vector<std::vector<std::byte>>> letters;  // from, to
  };

  class Rank final : public Communicator {
   public:
    Rank(int rank, int size, Mail& mail) : rank_(rank), size_(size), mail_(mail) {}
    int rank() const override { return rank_; }
    int size() const override { return size_; }

   private:
    void exchange(int rank, std::span<const std::byte> out, std::span<std::byte> in) override {
      std::unique_lock lock(mail_.mutex);
      mail_.letters[{rank_, rank}].emplace_back(out.begin(), out.end());
      mail_.came.notify_all();
      auto& inbox = mail_.letters[{rank, rank_}];
      mail_.came.wait(lock, [&] { return !inbox.empty(); });
      if (inbox.front().size() != in.size()) std::terminate();  // the ranks do not agree
      std::ranges::copy(inbox.front(), in.begin());
      inbox.erase(inbox.begin());
    }

    int rank_, size_;
    Mail& mail_;
  };
};

}  // namespace dfengine::test
