// Apart from the other functions: a program that does not call it does not link what it needs.
#include "engine/interface/errors.h"
#include "engine/interface/handles.h"
#include "engine/interface/structs.h"
#include "engine/selftest/selftest.h"

using namespace dfengine::interface;

df_status df_selftest(df_session* session) {
  return guarded([&] {
    df_session& s = *required(session, "session");
    const OneAtATime here(s.taken);
    s.backend->on_this_thread([&] {
      const auto report = dfengine::run_selftest(*s.backend, s.pool, {.thorough = false});
      if (!report.passed()) throw dfengine::Error("the self-test failed: " + report.failure());
    });
  });
}
