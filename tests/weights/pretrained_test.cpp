// "imagenet": downloads from a server of the test itself into a cache of its own.
#include "weights/pretrained.h"

#include <gtest/gtest.h>

#include <optional>

#include "kernels/base/error.h"
#include "kernels/base/sha256.h"
#include "tests/support/variable.h"
#include "tests/weights/scratch_folder.h"
#include "tests/weights/web_server.h"

namespace dfengine::weights {
namespace {

using test::message_of;
using test::Variable;
using test::WebServer;

std::string content() {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += std::to_string(i);
  return text;
}

std::string name_for(const std::string& text) {
  return "net-" + sha256_hex(test::bytes_of(text)).substr(0, 8) + ".pth";
}

class Imagenet : public ::testing::Test {
 protected:
  void SetUp() override {
    if (message_of_find().find("DFENGINE_DOWNLOAD") != std::string::npos)
      GTEST_SKIP() << "built without libcurl";
    std::filesystem::remove_all(cached().parent_path());
    asked_ = server_.requests().size();
  }
  std::string message_of_find() {
    try {
      find_weights(kImagenet);
    } catch (const ModelFileError& e) {
      return e.what();
    }
    return "";
  }
  std::filesystem::path cached() const { return folder_.path() / "dfengine" / name_for(content()); }
  std::filesystem::path part() const { return cached().string() + ".part"; }
  // Heads of the requests of the test proper.
  std::vector<std::string> requests() const {
    const auto all = server_.requests();
    return {all.begin() + static_cast<std::ptrdiff_t>(asked_), all.end()};
  }

  test::ScratchFolder folder_;
  WebServer server_{{content()}};
  Variable cache_{"XDG_CACHE_HOME", folder_.path().string()};
  Variable url_{"DFENGINE_WEIGHTS_URL", server_.url(name_for(content()))};
  Variable no_proxy_{"no_proxy", "127.0.0.1"};
  std::size_t asked_ = 0;
};

TEST(FindWeights, OtherPathsStay) {
  EXPECT_EQ(find_weights("some/imagenet"), "some/imagenet");
  const test::ScratchFolder run;
  EXPECT_EQ(find_weights(run.path()), run.path());
  test::spill(run.path() / "best.safetensors", "x");
  EXPECT_EQ(find_weights(run.path()), run.path() / "best.safetensors");
  EXPECT_EQ(find_weights("./imagenet"), "./imagenet");
  EXPECT_EQ(find_weights(""), "");
}

TEST_F(Imagenet, IsDownloadedOnce) {
  EXPECT_EQ(find_weights(kImagenet), cached());
  EXPECT_EQ(test::slurp(cached()), content());
  EXPECT_FALSE(std::filesystem::exists(part()));
  EXPECT_EQ(find_weights(kImagenet), cached());
  EXPECT_EQ(requests().size(), 1u);
}

TEST_F(Imagenet, GoesOnWhereItStopped) {
  server_.behave({content(), true, 0, 1000});
  EXPECT_NE(message_of_find().find("cannot download"), std::string::npos);
  EXPECT_EQ(test::slurp(part()), content().substr(0, 1000));
  server_.behave({content()});
  EXPECT_EQ(find_weights(kImagenet), cached());
  EXPECT_EQ(test::slurp(cached()), content());
  ASSERT_EQ(requests().size(), 2u);
  EXPECT_NE(requests()[1].find("Range: bytes=1000-"), std::string::npos) << requests()[1];
}

TEST_F(Imagenet, BeginsAnewWhereTheServerKnowsNoRanges) {
  std::filesystem::create_directories(cached().parent_path());
  test::spill(part(), content().substr(0, 1000));
  server_.behave({content(), false});
  EXPECT_EQ(find_weights(kImagenet), cached());
  EXPECT_EQ(test::slurp(cached()), content());
}

TEST_F(Imagenet, WholePartIsTakenAsItIs) {
  std::filesystem::create_directories(cached().parent_path());
  test::spill(part(), content());
  EXPECT_EQ(find_weights(kImagenet), cached());
  EXPECT_EQ(test::slurp(cached()), content());
}

TEST_F(Imagenet, WrongContentIsRefusedAndRemoved) {
  server_.behave({"something else"});
  const std::string message = message_of_find();
  EXPECT_NE(message.find("the name promises"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(part()));
  EXPECT_FALSE(std::filesystem::exists(cached()));
  server_.behave({content()});
  EXPECT_EQ(find_weights(kImagenet), cached());
}

TEST_F(Imagenet, MissingFileAndMissingServerSayWhatToFetchAndWhereToPutIt) {
  server_.behave({content(), true, 404});
  const std::string missing = message_of_find();
  EXPECT_NE(missing.find("the server answers 404"), std::string::npos) << missing;
  std::string address;
  {
    const WebServer gone({""});
    address = gone.url("net-01234567.pth");
  }
  const Variable url("DFENGINE_WEIGHTS_URL", address);
  const std::string message = message_of_find();
  EXPECT_NE(message.find(address), std::string::npos) << message;
  EXPECT_NE(message.find((folder_.path() / "dfengine/net-01234567.pth").string()),
            std::string::npos)
      << message;
}

TEST_F(Imagenet, ADownloadThatBringsNothingLeavesNothing) {
  const Variable cache("XDG_CACHE_HOME", (folder_.path() / "made/for/it").string());
  server_.behave({content(), true, 404});
  EXPECT_NE(message_of_find().find("404"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "made"));
  // What was there before stays.
  std::filesystem::create_directories(folder_.path() / "made");
  EXPECT_NE(message_of_find().find("404"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "made"));
}

TEST_F(Imagenet, AddressWithoutADigestIsRefused) {
  for (const char* file : {"net.pth", "net-xyz.pth", "net-0123456.pth", "a b-01234567.pth", ""}) {
    const Variable url("DFENGINE_WEIGHTS_URL", server_.url(file));
    EXPECT_NE(message_of_find().find("SHA-256"), std::string::npos) << file;
  }
  EXPECT_TRUE(requests().empty());
}

TEST_F(Imagenet, CacheIsInHomeWithoutXdg) {
  const Variable home("HOME", folder_.path().string());
  for (const auto& unset : {std::optional<std::string>(), std::optional<std::string>("relative")}) {
    const Variable cache("XDG_CACHE_HOME", unset);
    EXPECT_EQ(find_weights(kImagenet), folder_.path() / ".cache/dfengine" / name_for(content()));
  }
  const Variable no_home("HOME", std::nullopt), no_cache("XDG_CACHE_HOME", std::nullopt);
  EXPECT_NE(message_of_find().find("XDG_CACHE_HOME"), std::string::npos);
}

}  // namespace
}  // namespace dfengine::weights
