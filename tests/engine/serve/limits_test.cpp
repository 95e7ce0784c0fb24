// What the service does with too much, with too little, and with what means harm; and how it
// changes models and goes down under load.
#include <atomic>
#include <random>

#include "tests/engine/serve/raw_client.h"
#include "tests/engine/serve/running_service.h"

namespace dfengine {
namespace {

using std::chrono::milliseconds;
using test::RawClient;

class Limits : public test::RunningService {
 protected:
  bool answers_right(httplib::Client& client, std::size_t i) const {
    const auto answer = client.Post("/classify", bytes_[i], "image/jpeg");
    return answer && answer->status == 200 &&
           Json::parse(answer->body).at("results")[0].at("prob_fake") == expected_[i];
  }
  std::string post_head(std::size_t length, const std::string& more = "") const {
    return "POST /classify HTTP/1.1\r\nHost: x\r\n" + more +
           "Content-Length: " + std::to_string(length) + "\r\n\r\n";
  }
};

TEST_F(Limits, BodiesHaveALargestSize) {
  options_.limits.body = 40000;
  start();
  auto client = this->client();
  EXPECT_EQ(client.Post("/classify", std::string(40001, 'x'), "image/jpeg")->status, 413);
  EXPECT_TRUE(answers_right(client, 0)) << "the connection goes on";
  const auto chunks = [](std::size_t, httplib::DataSink& sink) {
    const std::string part(10000, 'x');
    for (int i = 0; i < 5; ++i) sink.write(part.data(), part.size());
    sink.done();
    return true;
  };
  EXPECT_EQ(client.Post("/classify", chunks, "image/jpeg")->status, 413);
  EXPECT_TRUE(answers_right(client, 1));
}

TEST_F(Limits, RequestsHaveAMostOfPictures) {
  options_.limits.pictures = 3;
  start();
  auto client = this->client();
  const auto with = [&](int count) {
    return client
        .Post("/classify",
              httplib::MultipartFormDataItems(static_cast<std::size_t>(count),
                                              {"picture", bytes_[0], "a.jpg", "image/jpeg"}))
        ->status;
  };
  EXPECT_EQ(with(3), 200);
  EXPECT_EQ(with(4), 413);
  EXPECT_TRUE(answers_right(client, 0));
}

TEST_F(Limits, AFullQueueSaysWhenToComeAgain) {
  scoring_.max_waiting = 1;
  start();
  auto client = this->client();
  const auto answer = client.Post(
      "/classify",
      httplib::MultipartFormDataItems(2, {"picture", bytes_[0], "a.jpg", "image/jpeg"}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 429);
  EXPECT_GE(std::stoi(answer->get_header_value("Retry-After")), 1);
  EXPECT_TRUE(answers_right(client, 0));
  EXPECT_EQ(metric(R"(dfengine_requests_total{route="/classify",code="429"})"), 1);
}

TEST_F(Limits, BodiesShareTheirMemory) {
  options_.limits.all = 100;
  start();
  auto client = this->client();
  EXPECT_EQ(client.Post("/classify", bytes_[0], "image/jpeg")->status, 429);
  EXPECT_EQ(client.Post("/classify", std::string(90, 'x'), "image/jpeg")->status, 422);
  EXPECT_EQ(client.Post("/classify", std::string(90, 'x'), "image/jpeg")->status, 422)
      << "what was taken is given back";
}

TEST_F(Limits, KeysOpenIt) {
  options_.keys = {"first key", "second"};
  start();
  auto client = this->client();
  const auto code = [&](const httplib::Headers& headers) {
    const auto answer = client.Post("/classify", headers, bytes_[0], "image/jpeg");
    return answer ? answer->status : 0;
  };
  EXPECT_EQ(code({}), 401);
  EXPECT_EQ(code({{"Authorization", "Bearer other"}}), 401);
  EXPECT_EQ(code({{"Authorization", "Bearer "}}), 401);
  EXPECT_EQ(code({{"X-API-Key", "second"}}), 200);
  EXPECT_EQ(code({{"Authorization", "Bearer first key"}}), 200);
  EXPECT_EQ(code({{"Authorization", "bearer second"}}), 200);
  EXPECT_EQ(code({{"Authorization", "BEARER  second"}}), 200);
  EXPECT_EQ(code({{"Authorization", "Bearersecond"}}), 401);
  EXPECT_EQ(code({{"Authorization", "Basic second"}}), 401);
  for (const char* path : {"/metrics", "/v2", "/v2/models/faces"})
    EXPECT_EQ(client.Get(path)->status, 401) << path;
  for (const char* path : {"/", "/v2/health/live", "/v2/health/ready", "/openapi.json"})
    EXPECT_EQ(client.Get(path)->status, 200) << path;
  service_->set_keys({"third"});
  EXPECT_EQ(code({{"X-API-Key", "second"}}), 401);
  EXPECT_EQ(code({{"X-API-Key", "third"}}), 200);
}

// What nobody reads is passed over, whatever its form.
TEST_F(Limits, FormsThatNobodyReadsAreRefusedInTheSameWords) {
  options_.keys = {"key"};
  start();
  auto client = this->client();
  const httplib::MultipartFormDataItems form = {{"picture", bytes_[0], "a.jpg", "image/jpeg"}};
  EXPECT_EQ(client.Post("/classify", form)->status, 401);
  EXPECT_EQ(client.Post("/nowhere", form)->status, 404);
  EXPECT_EQ(client.Post("/classify", {{"X-API-Key", "key"}}, form)->status, 200);
}

// One that is not read would be taken for said.
TEST_F(Limits, NamesTheParameterThatARouteDoesNotKnow) {
  start();
  auto client = this->client();
  for (const auto& [address, name] :
       std::map<std::string, std::string>{{"/classify?modle=q", "modle"},
                                          {"/classify?model=faces&threshold=.9", "threshold"},
                                          {"/classify?model=faces&model=q", "model"},
                                          {"/explain?stability=1", "stability"},
                                          {"/v2/models/faces/infer?threshold=.9", "threshold"}}) {
    const auto answer = client.Post(address, bytes_[0], "image/jpeg");
    ASSERT_TRUE(answer) << address;
    EXPECT_EQ(answer->status, 400) << address;
    EXPECT_NE(answer->body.find("'" + name + "'"), std::string::npos) << answer->body;
  }
  const auto known = client.Post("/classify?stability=1&model=faces", bytes_[0], "image/jpeg");
  EXPECT_EQ(known->status, 200) << known->body;
}

TEST_F(Limits, SlowClientsHoldNobodyUp) {
  options_.http.timeout = milliseconds(400);
  options_.http.max_connections = 4;
  start();
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(std::make_unique<RawClient>(service_->port()));
    // Headers that never end, and a body that never does.
    slow.back()->send(i % 2 ? post_head(1000) + "begin" : "POST /classify HTTP/1.1\r\nHo");
  }
  auto client = this->client();
  EXPECT_TRUE(answers_right(client, 0));
  for (const auto& one : slow) {
    one->send("x");  // a byte now and then buys no time
    const std::string answer = one->receive();
    EXPECT_EQ(answer.find(" 200 "), std::string::npos) << answer;
  }
}

TEST_F(Limits, WhatIsNoRequestIsRefusedAndTheServiceGoesOn) {
  start();
  std::mt19937 random(3);
  const std::string form = "Content-Type: multipart/form-data; boundary=B\r\n";
  const std::string part =
      "--B\r\nContent-Disposition: form-data; name=\"p\"; filename=\"a\"\r\n\r\n";
  std::vector<std::string> all = {
      "GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET /page.css/../../secret HTTP/1.1\r\nHost: x\r\n\r\n",
      "\r\n\r\n",
      std::string(20000, 'A') + "\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "GET / HTTP/1.1\r\n" + std::string(30000, 'h') + ": x\r\n\r\n",
      post_head(10) + "12345",
      post_head(5, form) + "--B\r\n",
      post_head(part.size() + 3, form) + part + "abc",
      post_head(20, "Content-Type: multipart/form-data\r\n") + std::string(20, '-'),
      post_head(0, form),
      "POST /classify HTTP/1.1\r\nContent-Length: -5\r\n\r\nabcde",
      "POST /classify HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
      "POST /classify HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "POST /classify HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
      "POST /classify HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
      "PUT /classify HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde",
      "DELETE / HTTP/1.1\r\n\r\n"};
  for (int i = 0; i < 60; ++i) {
    std::string noise = post_head(64, i % 2 ? form : "");
    for (int k = 0; k < 64; ++k) noise += static_cast<char>(random());
    all.push_back(noise);
  }
  auto client = this->client();
  for (std::size_t i = 0; i < all.size(); ++i) {
    RawClient raw(service_->port());
    raw.send(all[i]);
    raw.end_sending();
    const std::string answer = raw.receive();
    EXPECT_EQ(answer.find(" 200 "), std::string::npos) << i << ": " << answer.substr(0, 200);
    EXPECT_EQ(answer.find("root:"), std::string::npos) << i;
    EXPECT_EQ(answer.find(" 500 "), std::string::npos) << i << ": " << answer;
    if (i % 10 == 0) {
      EXPECT_TRUE(answers_right(client, i % bytes_.size())) << i;
    }
  }
}

TEST_F(Limits, HostilePicturesAreRefusedAndTheServiceGoesOn) {
  start();
  auto client = this->client();
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    std::string bytes = bytes_[static_cast<std::size_t>(i) % bytes_.size()];
    if (i % 3 == 0) bytes.resize(random() % bytes.size() + 1);
    for (int k = 0; k < 6; ++k)
      bytes[random() % std::min<std::size_t>(bytes.size(), 700)] = static_cast<char>(random());
    const auto answer = client.Post("/classify", bytes, "image/jpeg");
    ASSERT_TRUE(answer) << i;
    EXPECT_TRUE(answer->status == 200 || answer->status == 422) << answer->status << answer->body;
  }
  EXPECT_TRUE(answers_right(client, 3));
}

TEST_F(Limits, LogLinesAreJsonWithoutWhatWasSent) {
  start();
  auto client = this->client();
  client.Post("/classify?model=faces", {{"X-Mine", "secret"}}, bytes_[0], "image/jpeg");
  client.Get("/secret-place\"\n");
  client.Post("/classify?secret=abc", bytes_[0], "image/jpeg");
  stop();
  const auto lines = log();
  ASSERT_EQ(lines.size(), 3u);
  const Json first = Json::parse(lines[0]), second = Json::parse(lines[1]);
  EXPECT_EQ(first.at("route"), "/classify");
  EXPECT_EQ(first.at("status"), 200);
  EXPECT_EQ(first.at("pictures"), 1);
  EXPECT_EQ(first.at("model"), "faces");
  EXPECT_EQ(first.at("client"), "127.0.0.1");
  EXPECT_GT(first.at("seconds"), 0);
  EXPECT_NE(second.at("status"), 200);
  for (const std::string& line : lines) {
    EXPECT_EQ(line.find("secret"), std::string::npos);
    EXPECT_LT(line.size(), 400u);
  }
}

// The same thread serves one connection after the other.
TEST_F(Limits, WithoutALogNoRequestIsCountedAsTheOneBefore) {
  logged_ = false;
  start();
  for (const char* bytes :
       {"POST /classify HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        "NO REQUEST\r\n\r\n"}) {
    RawClient raw(service_->port());
    raw.send(bytes);
    raw.end_sending();
    EXPECT_NE(raw.receive(), "");
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(metric(R"(dfengine_requests_total{route="/classify",code="422"})"), 1);
  EXPECT_EQ(metric(R"(dfengine_requests_total{route="none",code="400"})"), 1);
}

TEST_F(Limits, ANewModelFileTakesOverWithoutALostRequest) {
  start();
  Model other = load_model(model_);
  other.temperature = 0.5;
  std::atomic<bool> stop_asking{false};
  std::atomic<int> wrong{0}, old_answers{0}, new_answers{0};
  std::vector<double> later;
  for (const auto& row : from_engine(Predictor::Output::Logits))
    later.push_back(other.probability(row[0]));
  std::vector<std::thread> clients;
  for (int c = 0; c < 3; ++c)
    clients.emplace_back([&] {
      auto client = this->client();
      for (std::size_t i = 0; !stop_asking; ++i) {
        const std::size_t k = i % bytes_.size();
        const auto answer = client.Post("/classify", bytes_[k], "image/jpeg");
        if (!answer || answer->status != 200) {
          ++wrong;
          continue;
        }
        const double prob = Json::parse(answer->body).at("results")[0].at("prob_fake");
        ++(prob == expected_[k] ? old_answers : prob == later[k] ? new_answers : wrong);
      }
    });
  std::vector<std::string> told;
  const auto tell = [&](const std::string& line) { told.push_back(line); };
  while (old_answers < 5) std::this_thread::sleep_for(milliseconds(5));
  save_model(model_, other);
  models_->reload(tell, metrics_);
  const int before = new_answers;
  while (new_answers < before + 5) std::this_thread::sleep_for(milliseconds(5));
  test::spill(model_, "damaged");
  models_->reload(tell, metrics_);
  while (new_answers < before + 10) std::this_thread::sleep_for(milliseconds(5));
  stop_asking = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_NE(told[0].find("loaded anew"), std::string::npos);
  EXPECT_NE(told[1].find("stays as it was"), std::string::npos);
  EXPECT_EQ(metric(R"(dfengine_reloads_total{result="failed"})"), 1);
}

TEST_F(Limits, GoingDownAnswersWhatCameIn) {
  scoring_.max_delay = milliseconds(300);
  scoring_.max_batch = 64;
  start();
  constexpr int kClients = 6;
  // Requests are there before the end begins.
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    const std::string& bytes = bytes_[at(i)];
    clients.push_back(std::make_unique<RawClient>(service_->port()));
    clients.back()->send(post_head(bytes.size()) + bytes);
  }
  stop();
  for (int i = 0; i < kClients; ++i) {
    const std::string answer = clients[at(i)]->receive();
    ASSERT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
    const Json json = Json::parse(answer.substr(answer.find("\r\n\r\n")));
    EXPECT_EQ(json.at("results")[0].at("prob_fake"), expected_[at(i)]);
  }
  EXPECT_THROW(RawClient(service_->port()).send("x"), std::runtime_error);
}

TEST_F(Limits, NamesOfModelsAreChecked) {
  serve::Scorer scorer(scoring_, metrics_);
  const auto with = [&](std::vector<serve::ModelFile> files) {
    serve::Models models(std::move(files), scorer);
  };
  EXPECT_THROW(with({}), UsageError);
  EXPECT_THROW(with({{"a/b", model_}}), UsageError);
  EXPECT_THROW(with({{"", model_}}), UsageError);
  EXPECT_THROW(with({{"a", model_}, {"a", model_}}), UsageError);
  EXPECT_THROW(with({{"a", files_[0]}}), ModelFileError);
  EXPECT_NO_THROW(with({{"a", model_}, {"b", model_}}));
}

TEST_F(Limits, AnAddressThatIsTakenIsNamed) {
  start();
  options_.http.port = service_->port();
  try {
    serve::Service second(options_, *scorer_, *models_, metrics_, {});
    FAIL() << "bound twice";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("--port"), std::string::npos);
  }
}

}  // namespace
}  // namespace dfengine
