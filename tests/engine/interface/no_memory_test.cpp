// Allocations that fail inside the C interface: each gets a status, and the next call answers as if
// nothing had been.
#include <sys/resource.h>

#include <cstdlib>
#include <thread>

#include "tests/engine/interface/failing_new.h"
#include "tests/engine/interface/interface_support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DF_TEST_OWN_HEAP 1
#endif

namespace dfengine {
namespace {

using test::in_child;
using test::options_with;
using test::with_failure;

class NoMemory : public test::Interface {
 protected:
  void SetUp() override {
    Interface::SetUp();
    std::mt19937 random(3);
    for (auto* pixels : {&wide_, &small_})
      for (std::uint8_t& value : *pixels) value = static_cast<std::uint8_t>(random());
  }

  df_picture wide() const { return df::pixels(wide_.data(), 150, 200); }
  df_picture small() const { return df::pixels(small_.data(), 100, 100); }

  // Of a session that was warm, with pictures of another size before and behind.
  void fail_each_allocation(df::Session& session, const std::vector<df_picture>& pictures,
                            std::uint32_t extras) {
    const auto answers = [&] {
      std::vector<double> all;
      const df::Results results = session.classify(pictures, extras);
      for (std::size_t i = 0; i < results.size(); ++i) all.push_back(results[i].probability);
      return all;
    };
    const std::vector<double> expected = answers();
    for (long n = 0;; ++n) {
      session.classify({small()});
      df_status status = DF_OK;
      df_results* results = nullptr;
      const bool failed = with_failure(n, [&] {
        status = df_classify(session.handle(), pictures.data(), pictures.size(), extras, &results);
      });
      const df::Results got(results);
      ASSERT_TRUE(status == DF_OK || status == DF_NO_MEMORY) << n << ": " << df_last_error();
      if (status != DF_OK) {
        ASSERT_EQ(results, nullptr) << n;
      }
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (got[i].status == DF_OK) {
          ASSERT_EQ(got[i].probability, expected[i]) << n;
          continue;
        }
        ASSERT_EQ(got[i].status, DF_NO_MEMORY) << n << ": " << got[i].error;
        ASSERT_STRNE(got[i].error, "") << n;
      }
      ASSERT_EQ(answers(), expected) << "after allocation " << n << " failed";
      if (!failed) break;
    }
  }

  std::vector<std::uint8_t> wide_ = std::vector<std::uint8_t>(150 * 200 * 3),
                            small_ = std::vector<std::uint8_t>(100 * 100 * 3);
};

TEST_F(NoMemory, OfAClassificationSpoilsNoLaterOne) {
  const df::Model model(model_);
  const auto bytes = weights::read_file(files_[5]);
  for (const int threads : {1, 3}) {
    df::Session session(model, options_with(threads, 4));
    fail_each_allocation(session, {wide()}, 0);  // whose tables the next call would use again
    fail_each_allocation(
        session, {wide(), df::file(files_[4].c_str()), df::encoded(bytes.data(), bytes.size())}, 0);
  }
}

// The first of these makes another network, in thousands of allocations.
TEST_F(NoMemory, OfExtrasSpoilsNoLaterOne) {
  const df::Model model(model_);
  df::Session session(model, options_with(2, 4));
  const df_picture picture = wide();
  for (long n = 0; n < 40'000; n += 613) {
    df_results* results = nullptr;
    with_failure(n, [&] {
      df_classify(session.handle(), &picture, 1, DF_FEATURES | DF_HEAT_MAP, &results);
    });
    df_results_free(&results);
  }
  fail_each_allocation(session, {picture}, DF_FEATURES | DF_HEAT_MAP);
}

// The first few start the threads; the rest, of the network's plan, in leaps.
TEST_F(NoMemory, OpeningGivesAStatus) {
  const df::Model model(model_);
  const std::vector<std::byte> file = weights::read_file(model_);
  const auto options = options_with(4, 4);
  for (long n = 0; n < 30'000; n += n < 20 ? 1 : 997) {
    df_session* session = nullptr;
    df_status status = DF_OK;
    if (!with_failure(n, [&] { status = df_session_open(model.handle(), &options, &session); })) {
      EXPECT_EQ(status, DF_OK);
      n = 30'000;
    } else {
      ASSERT_EQ(status, DF_NO_MEMORY) << n << ": " << df_last_error();
      ASSERT_STREQ(df_last_error(), "out of memory");
      ASSERT_EQ(session, nullptr);
    }
    df_session_close(&session);
  }
  for (long n = 0; n < 30'000; n += n < 10 ? 1 : 997) {
    df_model* opened = nullptr;
    df_status status = DF_OK;
    const bool failed =
        with_failure(n, [&] { status = df_model_open_bytes(file.data(), file.size(), &opened); });
    ASSERT_EQ(status, failed ? DF_NO_MEMORY : DF_OK) << n << ": " << df_last_error();
    df_model_close(&opened);
  }
}

// A message is cut behind a whole character.
TEST_F(NoMemory, AnErrorHasItsPlaceBeforehand) {
  df_model* model = nullptr;
  std::string path;
  while (path.size() < 3000) path += "\u00e4";
  EXPECT_EQ(df_model_open(path.c_str(), &model), DF_BAD_MODEL);
  const std::string text = df_last_error();
  EXPECT_LT(text.size(), 2048u);
  EXPECT_GT(text.size(), 2040u);
  EXPECT_EQ(text.substr(text.size() - 4), "\xa4...");
  EXPECT_EQ(df_model_open("nowhere", &model), DF_BAD_MODEL);
  EXPECT_LT(std::string(df_last_error()).size(), 200u);
}

#if !defined(DF_TEST_OWN_HEAP)
// What is mapped, not allocated, ends in the same status: no self-test fails for it.
TEST_F(NoMemory, OfTheSystemHasTheSameStatus) {
  const df::Model model(model_);
  df::Session session(model, options_with(1, 4));
  const auto options = options_with(1, 4096);
  EXPECT_EQ(in_child([&] {
              // The allocator has much to give; the system maps no more.
              std::vector<std::string> blocks(2000, std::string(1 << 14, 'x'));
              blocks.erase(blocks.begin(), blocks.end() - 1);
              const rlimit none = {1, 1};
              setrlimit(RLIMIT_AS, &none);
              df_session* another = nullptr;
              return df_selftest(session.handle()) == DF_NO_MEMORY &&
                     df_session_open(model.handle(), &options, &another) == DF_NO_MEMORY;
            }),
            0);
}

// Takes all that the allocator and the system would still give the calling thread.
void exhaust() {
  const rlimit none = {1, 1};
  setrlimit(RLIMIT_AS, &none);
  for (std::size_t bytes = std::size_t{1} << 20; bytes >= 1; bytes /= 2)
    for (void* volatile taken = std::malloc(bytes); taken != nullptr;) taken = std::malloc(bytes);
}

TEST_F(NoMemory, AThreadsFirstFailureNeedsNone) {
  EXPECT_EQ(in_child([] {
              bool right = false;
              std::thread([&] {
                exhaust();
                df_model* model = nullptr;
                right = df_model_open("nowhere", &model) == DF_NO_MEMORY &&
                        df_last_error() == std::string_view("out of memory");
              }).join();
              return right;
            }),
            0);
}
#endif

}  // namespace
}  // namespace dfengine
