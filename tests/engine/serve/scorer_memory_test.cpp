// Allocations that fail inside the threads of the scorer: the picture or its batch gets an error of
// the service, and the next one its answer.
#include "tests/engine/interface/failing_new.h"
#include "tests/engine/serve/running_service.h"

namespace dfengine {
namespace {

using test::with_failure;

class ScorerMemory : public test::RunningService {
 protected:
  std::shared_ptr<serve::Ticket> ticket(const std::shared_ptr<serve::ServedModel>& model,
                                        serve::Work work) const {
    std::vector<serve::Picture> pictures;
    for (const std::size_t i : {0, 3}) pictures.push_back({"a picture", bytes_[i]});
    pictures.push_back({"what is no picture", "a text that is no picture"});
    const auto until = serve::Clock::now() + std::chrono::seconds(60);
    return std::make_shared<serve::Ticket>(model, work, std::move(pictures), until);
  }
  void check(const serve::Ticket& ticket, long n, bool may_fail) const {
    for (std::size_t i = 0; i < 3; ++i) {
      const serve::Picture& picture = ticket.pictures[i];
      if (may_fail && picture.failed) {
        ASSERT_NE(picture.error, "") << n;
        ASSERT_FALSE(picture.prob) << n;
        continue;
      }
      ASSERT_FALSE(picture.failed) << n << ": " << picture.error;
      ASSERT_EQ(picture.error.empty(), i < 2) << n << ": " << picture.error;
      if (i < 2) {
        ASSERT_EQ(picture.prob, expected_[i == 0 ? 0 : 3]) << n;
      }
    }
  }
};

TEST_F(ScorerMemory, AFailedAllocationIsAnAnswer) {
  serve::Scorer scorer(scoring_, metrics_);
  const auto model = scorer.make_ready("faces", load_model(model_));
  for (const serve::Work work : {serve::Work::Classify, serve::Work::Stability}) {
    for (long n = 0;; n += work == serve::Work::Classify ? 1 : 7) {
      const auto failing = ticket(model, work);
      bool admitted = false;
      const bool failed = with_failure(n, [&] {
        try {
          admitted = scorer.admit(failing);
        } catch (const std::bad_alloc&) {
          return;
        }
        failing->wait();
      });
      if (admitted) check(*failing, n, true);
      const auto next = ticket(model, work);
      ASSERT_TRUE(scorer.admit(next));
      ASSERT_TRUE(next->wait());
      check(*next, n, false);
      if (!failed) break;
    }
  }
  EXPECT_EQ(scorer.waiting(), 0u);
}

}  // namespace
}  // namespace dfengine
