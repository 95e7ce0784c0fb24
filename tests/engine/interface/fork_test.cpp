// After fork(): a child answers with its parent's session and with its own, and closing them waits
// for no thread that the child lacks.
#include <atomic>
#include <thread>

#include "tests/engine/interface/interface_support.h"

namespace dfengine {
namespace {

using test::in_child;
using test::options_with;

class Fork : public test::Interface {
 protected:
  bool answers(df_session* session, const std::vector<df_picture>& pictures,
               const std::vector<double>& expected) {
    df_results* results = nullptr;
    if (df_classify(session, pictures.data(), pictures.size(), 0, &results) != DF_OK) return false;
    const df::Results got(results);
    for (std::size_t i = 0; i < got.size(); ++i)
      if (got[i].probability != expected[i]) return false;
    return true;
  }
  // With a session that the caller's process opens for it.
  bool answers_anew(const df::Model& model, const std::vector<df_picture>& pictures,
                    const std::vector<double>& expected) {
    const auto options = options_with(3, 4);
    df_session* session = nullptr;
    if (df_session_open(model.handle(), &options, &session) != DF_OK) return false;
    const bool right = answers(session, pictures, expected);
    df_session_close(&session);
    return right;
  }
};

TEST_F(Fork, AChildAnswersAndCloses) {
  const df::Model model(model_);
  const auto options = options_with(3, 4);
  const std::vector<double> expected = expected_probabilities();
  const std::vector<df_picture> pictures = as_files();
  df_session* session = nullptr;
  ASSERT_EQ(df_session_open(model.handle(), &options, &session), DF_OK);
  EXPECT_TRUE(answers(session, pictures, expected));
  EXPECT_EQ(in_child([&] {
              const bool right =
                  answers(session, pictures, expected) && answers_anew(model, pictures, expected);
              df_session_close(&session);
              return right;
            }),
            0);
  EXPECT_TRUE(answers(session, pictures, expected));
  df_session_close(&session);
}

// What the other thread had in its hands at the fork, the child does not touch.
TEST_F(Fork, AChildClosesASessionThatAnotherThreadWasIn) {
  const df::Model model(model_);
  const auto options = options_with(2, 4);
  const std::vector<double> expected = expected_probabilities();
  const std::vector<df_picture> pictures = as_files();
  df_session* session = nullptr;
  ASSERT_EQ(df_session_open(model.handle(), &options, &session), DF_OK);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) EXPECT_TRUE(answers(session, pictures, expected));
  });
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(in_child([&] {
                df_session_close(&session);
                return session == nullptr && answers_anew(model, pictures, expected);
              }),
              0);
  }
  stop = true;
  other.join();
  df_session_close(&session);
}

}  // namespace
}  // namespace dfengine
