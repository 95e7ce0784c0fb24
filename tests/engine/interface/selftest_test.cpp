// df_selftest on the CPU: apart from the other tests, because it computes for seconds.
#include "tests/engine/interface/interface_support.h"

namespace dfengine {
namespace {

using InterfaceSelfTest = test::Interface;

TEST_F(InterfaceSelfTest, Passes) {
  const df::Model model(model_);
  df::Session session(model, test::options_with(2, 0));
  EXPECT_EQ(df_selftest(session.handle()), DF_OK) << df_last_error();
  std::int32_t device = -1;
  EXPECT_EQ(df_session_device(session.handle(), &device), DF_OK);
  EXPECT_EQ(device, DF_CPU);
}

}  // namespace
}  // namespace dfengine
