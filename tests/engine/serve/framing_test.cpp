// Where a request ends, and what a client may send until then.
#include "tests/engine/serve/raw_client.h"
#include "tests/engine/serve/running_service.h"

namespace dfengine {
namespace {

using std::chrono::milliseconds;
using test::RawClient;

constexpr const char* kHost = " HTTP/1.1\r\nHost: x\r\n";

class Framing : public test::RunningService {
 protected:
  // What comes back for these bytes; nothing where the service waits for more.
  std::string answer_to(const std::string& bytes) const {
    RawClient client(service_->port());
    client.send(bytes);
    return client.receive(milliseconds(4000));
  }
};

std::size_t answers_in(const std::string& text) {
  const std::string header = "\r\nServer: dfengine\r\n";
  std::size_t count = 0;
  for (std::size_t at = text.find(header); at != std::string::npos; at = text.find(header, at + 1))
    ++count;
  return count;
}

TEST_F(Framing, HeadsHaveALargestSize) {
  start();
  std::string head = std::string("GET /v2/health/live") + kHost;
  const std::string end = "Connection: close\r\n\r\n";
  EXPECT_TRUE(answer_to(head + end).starts_with("HTTP/1.1 200 "));
  for (int i = 0; i < 10000; ++i) head += "X" + std::to_string(i) + ": a\r\n";
  EXPECT_TRUE(answer_to(head + end).starts_with("HTTP/1.1 400 "));
}

TEST_F(Framing, LinesOfChunksHaveALargestSize) {
  start();
  const std::string head =
      std::string("POST /classify") + kHost + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_TRUE(answer_to(head + std::string(40000, '0')).starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(answer_to(head + "1;" + std::string(40000, 'x')).starts_with("HTTP/1.1 400 "));
}

TEST_F(Framing, ABodyWithoutEndIsRefused) {
  options_.limits.body = 40000;
  start();
  std::string body;
  for (int i = 0; i < 100; ++i) body += "400\r\n" + std::string(1024, 'x') + "\r\n";
  const std::string answer = answer_to(std::string("POST /classify") + kHost +
                                       "Transfer-Encoding: chunked\r\n\r\n" + body);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << answer;
}

TEST_F(Framing, AClientThatNeverStopsIsLeftInTime) {
  options_.http.timeout = milliseconds(300);
  options_.limits.body = std::size_t{1} << 40;
  options_.limits.all = 1000;
  start();
  RawClient client(service_->port());
  client.send(std::string("POST /classify") + kHost + "Content-Length: 1099511627776\r\n\r\n");
  const std::string block(65536, 'x');
  const auto begin = std::chrono::steady_clock::now();
  const auto longest = begin + std::chrono::seconds(5);
  while (client.send(block) && std::chrono::steady_clock::now() < longest) {
  }
  EXPECT_LT(std::chrono::steady_clock::now(), longest);
}

TEST_F(Framing, PackedBodiesAreRefusedUnread) {
  options_.keys = {"key"};
  start();
  for (const char* coding : {"gzip", "br", "deflate", "identity, gzip"}) {
    const std::string answer =
        answer_to(std::string("POST /classify") + kHost + "Content-Encoding: " + coding +
                  "\r\nContent-Length: 1000000\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 415 ")) << coding << ": " << answer;
  }
  httplib::Client client = this->client();
  const auto plain =
      client.Post("/classify", {{"X-API-Key", "key"}, {"Content-Encoding", "identity"}}, bytes_[0],
                  "image/jpeg");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->status, 200);
}

TEST_F(Framing, NoBodyIsAnsweredAsARequest) {
  start();
  const std::string inner = "GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  const std::string length = "Content-Length: " + std::to_string(inner.size()) + "\r\n";
  std::vector<std::string> heads;
  for (const char* method : {"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PRI"})
    for (const std::string& of : {length, std::string("Transfer-Encoding: chunked\r\n"),
                                  "Content-Length : " + std::to_string(inner.size()) + "\r\n"})
      heads.push_back(std::string(method) + " /v2/health/live" + kHost + of + "\r\n");
  const std::string post = std::string("POST /classify") + kHost;
  heads.push_back(post + length + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  heads.push_back(post + "Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n\r\nabc");
  heads.push_back(post + "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  heads.push_back(post + "Content-Length: 3\r\nContent-Length: 7\r\n\r\nabc");
  heads.push_back(post + "Content-Length: 3x\r\n\r\nabc");
  heads.push_back(post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n");
  for (const std::string& head : heads) {
    const std::string answer = answer_to(head + inner);
    EXPECT_EQ(answers_in(answer), 1u) << head << answer;
  }
}

// Nobody waits for a body that was not announced, and what comes all the same is no request.
TEST_F(Framing, ABodyWithoutALengthIsNone) {
  options_.keys = {"key"};
  start();
  const std::string key = "X-API-Key: key\r\n", json = "Content-Type: application/json\r\n",
                    form = "Content-Type: multipart/form-data; boundary=x\r\n";
  for (const auto& [request, status] : std::vector<std::pair<std::string, std::string>>{
           {"POST /classify" + (kHost + key), "400"},
           {"POST /explain" + (kHost + key + form), "400"},
           {"POST /v2/models/faces/infer" + (kHost + key + json), "400"},
           {"POST /classify" + std::string(kHost), "401"},
           {"POST /nowhere" + std::string(kHost), "404"},
           {"DELETE /classify" + std::string(kHost), "404"}}) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string answer = answer_to(request + "\r\n");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(3000)) << request;
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + status)) << request << answer;
    const std::string inner = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    EXPECT_EQ(answers_in(answer_to(request + "\r\n" + inner)), 1u) << request;
  }
}

// Answers are whole: what is cut from one, or repeated, would pass every limit.
TEST_F(Framing, RangesAreIgnored) {
  start();
  const std::string request = std::string("GET /openapi.json") + kHost + "Connection: close\r\n";
  const std::string whole = answer_to(request + "\r\n");
  ASSERT_TRUE(whole.starts_with("HTTP/1.1 200 "));
  std::string many = "0-";
  for (int i = 0; i < 100; ++i) many += ",0-";
  for (const std::string& ranges : {std::string("0-3"), std::string("1000000-"), many}) {
    const std::string answer = answer_to(request + "Range: bytes=" + ranges + "\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer.substr(0, 200);
    EXPECT_EQ(answer.size(), whole.size()) << ranges;
  }
}

TEST_F(Framing, FormsMayBeWrittenInAnyWay) {
  start();
  const std::string body =
      "--b;b\r\nContent-Disposition: form-data; name=\"one\"\r\n\r\nno picture\r\n--b;b--\r\n";
  const auto answer = [&](const std::string& type) {
    return answer_to(std::string("POST /classify") + kHost +
                     "Connection: close\r\nContent-Type: " + type +
                     "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  };
  for (const char* type :
       {"multipart/form-data; boundary=\"b;b\"", "Multipart/Form-Data; BOUNDARY=\"b;b\"",
        "multipart/form-data;charset=UTF-8;boundary=\"b;b\"; charset=UTF-8"}) {
    const std::string got = answer(type);
    EXPECT_NE(got.find("\"one\""), std::string::npos) << type << ": " << got;
  }
  EXPECT_TRUE(answer("multipart/form-data").starts_with("HTTP/1.1 400 "));
}

TEST_F(Framing, ATargetMayNameTheServer) {
  start();
  const auto status = [&](const std::string& target) {
    return answer_to("GET " + target + kHost + "Connection: close\r\n\r\n").substr(9, 3);
  };
  EXPECT_EQ(status("http://x/v2"), "200");
  EXPECT_EQ(status("HTTP://x:80/v2/health/live"), "200");
  EXPECT_EQ(status("http://x/nothing"), "404");
}

TEST_F(Framing, RequestsWithoutBodiesKeepTheConnection) {
  start();
  const std::string first = std::string("GET /v2/health/live") + kHost;
  const std::string last = first + "Connection: close\r\n\r\n";
  EXPECT_EQ(answers_in(answer_to(first + "\r\n" + last)), 2u);
  EXPECT_EQ(answers_in(answer_to(first + "Content-Length: 0\r\n\r\n" + last)), 2u);
}

}  // namespace
}  // namespace dfengine
