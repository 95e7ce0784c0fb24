// dfengine serve as a program: its arguments, and a system that has no more threads for it.
#include <optional>

#include "tests/apps/cli_support.h"
#include "tests/apps/resource_limit.h"
#include "tests/engine/serve/raw_client.h"

namespace dfengine {
namespace {

using std::chrono::milliseconds;
using test::contains;
using test::Outcome;
using test::RawClient;
using test::ResourceLimit;
using test::run_program;

using Words = std::vector<std::string>;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMapsTheAddressSpace = true;
#else
constexpr bool kMapsTheAddressSpace = false;
#endif

class ServeCli : public testing::Test {
 protected:
  void SetUp() override {
    if (contains(run_program({"serve"}).err, "no command")) GTEST_SKIP() << "built without serve";
  }
  // Runs it with `use` called once it listens, and then SIGTERM.
  static Outcome serve(const Words& more, const std::function<void(int port)>& use = {}) {
    Words words = {"serve",     "--model", test::model_file(), "--port", "0",
                   "--threads", "1",       "--device",         "cpu",    "--no-log"};
    words.insert(words.end(), more.begin(), more.end());
    bool listens = false;
    return run_program(words, [&](pid_t child, const std::string& out) {
      if (listens || !out.ends_with('\n')) return;
      listens = true;
      if (use) use(std::stoi(out.substr(out.rfind(':') + 1)));
      ::kill(child, SIGTERM);
    });
  }
};

const std::string kHead = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n";
const std::string kQuestion = kHead + "\r\n", kLastQuestion = kHead + "Connection: close\r\n\r\n";

// Every thread asks for a stack of so much.
constexpr rlim_t kStack = rlim_t{8} << 30;
constexpr rlim_t kProgram = rlim_t{4} << 30;

TEST_F(ServeCli, NumbersOutOfRangeAreRefused) {
  for (const Words& words : std::vector<Words>{{"--port", "70000"},
                                               {"--port", "-1"},
                                               {"--timeout", "nan"},
                                               {"--timeout", "0"},
                                               {"--max-delay", "nan"},
                                               {"--max-delay", "-1"}}) {
    const Outcome o = serve(words);
    EXPECT_EQ(o.code, 2) << words[0] << " " << words[1] << ": " << o.out << o.err;
    EXPECT_TRUE(contains(o.err, words[0])) << o.err;
  }
}

TEST_F(ServeCli, KeysStandOneALineWithBlanksAround) {
  const test::ScratchFolder folder;
  const std::string keys = (folder.path() / "keys").string();
  test::spill(keys, "\xEF\xBB\xBF# ours\n first \r\n\tsecond\n\n  # third\n");
  const Outcome o = serve({"--api-key-file", keys}, [](int port) {
    for (const auto& [key, status] : {std::pair("first", "200"), std::pair("second", "200"),
                                      std::pair("# third", "401"), std::pair("", "401")}) {
      const RawClient client(port);
      client.send("GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: " +
                  std::string(key) + "\r\n\r\n");
      EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 " + std::string(status))) << key;
    }
  });
  EXPECT_EQ(o.code, 0) << o.err;
}

// A variable that is not set must not open the service.
TEST_F(ServeCli, AKeyFileWithoutANameIsRefused) {
  const Outcome o = serve({"--api-key-file", ""});
  EXPECT_EQ(o.code, 2) << o.out;
  EXPECT_TRUE(contains(o.err, "--api-key-file")) << o.err;
}

TEST_F(ServeCli, AFolderMayEndInASlash) {
  const test::ScratchFolder run;
  std::filesystem::copy_file(test::model_file(), run.path() / "best.safetensors");
  const Outcome o =
      run_program({"serve", "--model", run.path().string() + "/", "--max-queue", "1"});
  EXPECT_TRUE(contains(o.err, "--max-pictures is more than --max-queue")) << o.err;
}

TEST_F(ServeCli, TooFewThreadsToBeginAreSaid) {
  if (kMapsTheAddressSpace) GTEST_SKIP() << "the sanitizer takes the address space";
  const ResourceLimit stack(RLIMIT_STACK, kStack), all(RLIMIT_AS, kStack + kProgram);
  const Outcome o = serve({});
  EXPECT_EQ(o.code, 1) << o.err;
  EXPECT_TRUE(contains(o.err, "--threads")) << o.err;
}

TEST_F(ServeCli, ConnectionsWaitWhereThereIsNoMoreThread) {
  if (kMapsTheAddressSpace) GTEST_SKIP() << "the sanitizer takes the address space";
  // One that computes, one that decodes, one that accepts, and one for connections.
  const ResourceLimit stack(RLIMIT_STACK, kStack), all(RLIMIT_AS, 4 * kStack + kProgram);
  const Outcome o = serve({}, [](int port) {
    std::optional<RawClient> first(port);
    first->send(kQuestion);
    EXPECT_TRUE(contains(first->receive(milliseconds(300)), "200 OK"));
    const RawClient second(port);
    second.send(kLastQuestion);
    EXPECT_EQ(second.receive(milliseconds(200)), "");
    first.reset();
    EXPECT_TRUE(contains(second.receive(), "200 OK"));
  });
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_F(ServeCli, WithoutAThreadForAnyConnectionItGoesOn) {
  if (kMapsTheAddressSpace) GTEST_SKIP() << "the sanitizer takes the address space";
  const ResourceLimit stack(RLIMIT_STACK, kStack), all(RLIMIT_AS, 3 * kStack + kProgram);
  const Outcome o = serve({}, [](int port) {
    const RawClient client(port);
    client.send(kQuestion);
    EXPECT_EQ(client.receive(), "");
  });
  EXPECT_EQ(o.code, 0) << o.err;
}

}  // namespace
}  // namespace dfengine
