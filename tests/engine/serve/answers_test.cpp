// What the service answers: the engine's own bits, by every route, whoever asks at the same time.
#include <atomic>
#include <regex>

#include "engine/data/pictures/png_encode.h"
#include "engine/serve/http/texts.h"
#include "tests/engine/serve/running_service.h"

namespace dfengine {
namespace {

class Service : public test::RunningService {
 protected:
  static httplib::MultipartFormDataItems parts(const std::vector<std::string>& bytes) {
    httplib::MultipartFormDataItems items;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      items.push_back({"picture", bytes[i], "p" + std::to_string(i) + ".jpg", "image/jpeg"});
    return items;
  }
};

TEST_F(Service, ClassifiesABody) {
  start();
  auto client = this->client();
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    const auto answer = client.Post("/classify", bytes_[i], "image/jpeg");
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->status, 200) << answer->body;
    const Json json = Json::parse(answer->body);
    EXPECT_EQ(json.at("model"), "faces");
    EXPECT_EQ(json.at("threshold"), 0.4375);
    EXPECT_EQ(json.at("positive_class"), "fake");
    ASSERT_EQ(json.at("results").size(), 1u);
    const Json& one = json.at("results")[0];
    EXPECT_EQ(one.at("prob_fake"), expected_[i]);
    EXPECT_EQ(one.at("verdict"), expected_[i] >= 0.4375 ? "fake" : "real");
    EXPECT_EQ(one.at("unsure"), expected_[i] > 0.25 && expected_[i] < 0.75);
  }
}

TEST_F(Service, ComputesAQuantizedModelBesideADevice) {
  DF_NEEDS_DEVICE();
  quantize_model();
  scoring_.device = DeviceKind::Cuda;
  start();
  const std::vector<double> expected = expected_probabilities();
  const auto answer = client().Post("/classify", parts(bytes_));
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->status, 200) << answer->body;
  const Json results = Json::parse(answer->body).at("results");
  for (std::size_t i = 0; i < bytes_.size(); ++i)
    EXPECT_EQ(results.at(i).at("prob_fake"), expected[i]);
}

TEST_F(Service, ClassifiesThePartsInTheirOrder) {
  start();
  std::vector<std::string> bodies = bytes_;
  bodies.insert(bodies.begin() + 2, "no picture at all");
  const auto answer = client().Post("/classify", parts(bodies));
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->status, 200) << answer->body;
  const Json results = Json::parse(answer->body).at("results");
  ASSERT_EQ(results.size(), bodies.size());
  for (std::size_t i = 0, good = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].at("name"), "p" + std::to_string(i) + ".jpg");
    if (i == 2) {
      EXPECT_FALSE(results[i].contains("prob_fake"));
      EXPECT_NE(results[i].at("error").get<std::string>().find("p2.jpg"), std::string::npos);
    } else {
      EXPECT_EQ(results[i].at("prob_fake"), expected_[good++]);
    }
  }
}

TEST_F(Service, TellsHowStableAnAnswerIs) {
  start();
  const Model model = load_model(model_);
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  Predictor predictor(model, backend, Predictor::Output::Logits);
  const Preparation how = model.preparation();
  Preparer preparer(how);
  PerturbScratch scratch;
  const auto answer = client().Post("/classify?stability=1", parts(bytes_));
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->status, 200) << answer->body;
  const Json results = Json::parse(answer->body).at("results");
  for (std::size_t i = 0; i < files_.size(); ++i) {
    std::vector<std::uint8_t> squares(at(kStabilityForms) * kSide * kSide * 3);
    const std::vector<Image> forms = stability_forms(preparer.decode(files_[i]), scratch);
    for (std::size_t k = 0; k < forms.size(); ++k)
      preparer.resize(forms[k], how.crop, Views::One, squares.data() + k * kSide * kSide * 3);
    std::vector<float> logits(forms.size());
    predictor.run(squares.data(), std::ssize(logits), logits.data());
    const Stability expected = stability_of(logits, model);
    const Json& one = results.at(i);
    EXPECT_EQ(one.at("prob_fake"), expected_[i]);
    EXPECT_EQ(one.at("prob_low"), expected.low);
    EXPECT_EQ(one.at("prob_high"), expected.high);
    EXPECT_EQ(one.at("stable"), !expected.flips);
    EXPECT_EQ(one.at("unsure"), expected.flips || model.unsure->holds(expected_[i]));
  }
  EXPECT_EQ(client().Post("/classify?stability=maybe", bytes_[0], "image/jpeg")->status, 400);
}

TEST_F(Service, SaysWhereNothingCouldBeRead) {
  start();
  auto client = this->client();
  const auto answer = client.Post("/classify", std::string("GIF89a"), "image/gif");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 422);
  EXPECT_TRUE(Json::parse(answer->body).at("results")[0].contains("error"));
  EXPECT_EQ(client.Post("/explain", std::string("GIF89a"), "image/gif")->status, 422);
  EXPECT_EQ(client.Post("/classify", std::string(), "image/gif")->status, 400);
}

TEST_F(Service, ExplainsAPicture) {
  start();
  const auto answer = client().Post("/explain", bytes_[1], "image/jpeg");
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->status, 200) << answer->body;
  const Model model = load_model(model_);
  ThreadPool pool(1);
  const CpuBackend backend(pool);
  GradCam cam(model, backend);
  std::vector<std::uint8_t> square(kSide * kSide * 3);
  Preparer(model.preparation()).prepare(files_[1], square.data());
  const GradCamRun run = cam.run(square.data());
  const bool fake = model.probability(run.logit) >= model.threshold;
  const auto png = encode_png(overlay(ImageView(square.data(), kSide, kSide),
                                      run.evidence(fake ? Evidence::Fake : Evidence::Real)));
  EXPECT_EQ(answer->body, std::string(reinterpret_cast<const char*>(png.data()), png.size()));
  EXPECT_EQ(std::stod(answer->get_header_value("X-Prob-Fake")), expected_[1]);
  EXPECT_EQ(answer->get_header_value("X-Verdict"), fake ? "fake" : "real");
  const bool unsure = expected_[1] > 0.25 && expected_[1] < 0.75;
  EXPECT_EQ(answer->get_header_value("X-Unsure"), unsure ? "true" : "false");
}

TEST_F(Service, ManyClientsGetTheirOwnAnswers) {
  scoring_.max_delay = std::chrono::milliseconds(20);
  start();
  constexpr int kClients = 8, kRounds = 12;
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c)
    clients.emplace_back([&, c] {
      auto client = this->client();
      for (int round = 0; round < kRounds; ++round) {
        const std::size_t i = static_cast<std::size_t>(c * 3 + round) % bytes_.size();
        const auto answer = client.Post("/classify", bytes_[i], "image/jpeg");
        wrong += !answer || answer->status != 200 ||
                 Json::parse(answer->body).at("results")[0].at("prob_fake") != expected_[i];
      }
    });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(metric("dfengine_batch_pictures_sum"), kClients * kRounds);
  EXPECT_LT(metric("dfengine_batch_pictures_count"), kClients * kRounds);
}

TEST_F(Service, ServesSeveralModelsByName) {
  Model other = make_model({.width = 0.1, .input_size = 128}, 9);
  other.classes = {"camera", "fake"};
  const std::string path = (folder_.path() / "other.safetensors").string();
  save_model(path, other);
  served_ = {{"faces", model_}, {"other-2", path}};
  start();
  auto client = this->client();
  const Json second =
      Json::parse(client.Post("/classify?model=other-2", bytes_[0], "image/jpeg")->body);
  EXPECT_EQ(second.at("model"), "other-2");
  const df::Model opened(path);
  df::Session session(opened);
  const auto own = session.classify({df::encoded(bytes_[0].data(), bytes_[0].size())});
  EXPECT_EQ(second.at("results")[0].at("prob_fake"), own[0].probability);
  const Json first = Json::parse(client.Post("/classify", bytes_[0], "image/jpeg")->body);
  EXPECT_EQ(first.at("results")[0].at("prob_fake"), expected_[0]);
  EXPECT_EQ(client.Post("/classify?model=../other-2", bytes_[0], "image/jpeg")->status, 404);
}

TEST_F(Service, MetricsAreInPrometheusFormat) {
  start();
  auto client = this->client();
  client.Post("/classify", bytes_[0], "image/jpeg");
  client.Post("/classify", std::string("x"), "image/jpeg");
  client.Get("/nowhere");
  const auto answer = client.Get("/metrics");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->get_header_value("Content-Type"), "text/plain; version=0.0.4");
  static const std::regex comment(R"(# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram)))");
  static const std::regex sample(
      R"(([a-z_]+)(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? -?[0-9.e+-]+)");
  std::map<std::string, double> last;  // of a histogram's buckets
  for (const std::string_view view : weights::lines_of(answer->body)) {
    const std::string line(view);
    EXPECT_TRUE(std::regex_match(line, comment) || std::regex_match(line, sample)) << line;
    const std::size_t bucket = line.find("_bucket{");
    if (bucket == std::string::npos) continue;
    const double count = std::stod(line.substr(line.rfind(' ')));
    EXPECT_GE(count, last[line.substr(0, bucket)]) << line;
    last[line.substr(0, bucket)] = count;
  }
  EXPECT_EQ(last.size(), 5u);
  EXPECT_EQ(last["dfengine_decode_seconds"], 2);
  EXPECT_EQ(metric(R"(dfengine_requests_total{route="/classify",code="200"})"), 1);
  EXPECT_EQ(metric(R"(dfengine_requests_total{route="/classify",code="422"})"), 1);
  EXPECT_EQ(metric(R"(dfengine_requests_total{route="none",code="404"})"), 1);
  EXPECT_EQ(metric(R"(dfengine_pictures_total{result="unreadable"})"), 1);
  EXPECT_EQ(metric("dfengine_waiting_pictures"), 0);
  const bool unsure = expected_[0] > 0.25 && expected_[0] < 0.75;
  const char* verdict = unsure ? "unsure" : expected_[0] >= 0.4375 ? "fake" : "real";
  EXPECT_EQ(
      metric(std::string(R"(dfengine_verdicts_total{model="faces",verdict=")") + verdict + "\"}"),
      1);
}

TEST_F(Service, HandsOutThePageUnderAStrictPolicy) {
  start();
  auto client = this->client();
  for (const char* path : {"/", "/page.css", "/page.js"}) {
    const auto answer = client.Get(path);
    ASSERT_EQ(answer->status, 200) << path;
    const std::string policy = answer->get_header_value("Content-Security-Policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_EQ(answer->body.find("http://"), answer->body.find("http://www.w3.org/2000/svg"))
        << path;
    EXPECT_EQ(answer->body.find("https://"), std::string::npos) << path;
  }
  const Json api = Json::parse(client.Get("/openapi.json")->body);
  for (const char* path : {"/classify", "/explain", "/metrics", "/v2/models/{name}/infer"})
    EXPECT_TRUE(api.at("paths").contains(path)) << path;
}

}  // namespace
}  // namespace dfengine
