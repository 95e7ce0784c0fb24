// What the service answers: the engine's own bits, by every route, whoever asks at the same time.
#include <atomic>
#include <regex>

#include "engine/data/pictures/png_encode.h"
#include "engine/serve/http/base64.h"
#include "engine/serve/http/texts.h"
#include "tests/engine/serve/running_service.h"

namespace dfengine {
namespace {

std::string to_base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k)
      three = three << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k)
      text += i + k > bytes.size() ? '=' : kDigits[three >> (18 - 6 * k) & 63];
  }
  return text;
}

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
}

TEST_F(Service, CallsAPictureTheSameEverywhere) {
  Model model = load_model(model_);
  model.classes = {"photo", "painted"};
  model.positive_class = "painted";
  save_model(model_, model);
  start();
  auto client = this->client();
  for (const std::string& picture : bytes_) {
    const auto classified = client.Post("/classify", picture, "image/jpeg");
    const auto explained = client.Post("/explain", picture, "image/jpeg");
    ASSERT_TRUE(classified && explained);
    ASSERT_EQ(explained->status, 200) << explained->body;
    const std::string verdict = Json::parse(classified->body).at("results")[0].at("verdict");
    EXPECT_TRUE(verdict == "photo" || verdict == "painted") << verdict;
    EXPECT_EQ(explained->get_header_value("X-Verdict"), verdict);
  }
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

TEST_F(Service, SpeaksTheOpenInferenceProtocol) {
  start();
  auto client = this->client();
  EXPECT_EQ(client.Get("/v2/health/live")->status, 200);
  EXPECT_EQ(client.Get("/v2/health/ready")->status, 200);
  EXPECT_EQ(client.Get("/v2/models/faces/ready")->status, 200);
  EXPECT_EQ(Json::parse(client.Get("/v2")->body).at("models"), Json({"faces"}));
  for (const char* path : {"/v2/models/faces", "/v2/models/faces/versions/1"}) {
    const Json model = Json::parse(client.Get(path)->body);
    EXPECT_EQ(model.at("inputs")[0].at("datatype"), "BYTES");
    EXPECT_EQ(model.at("parameters").at("threshold"), 0.4375);
  }
  EXPECT_EQ(client.Get("/v2/models/other")->status, 404);

  const auto check = [&](const httplib::Result& answer) {
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->status, 200) << answer->body;
    const Json json = Json::parse(answer->body);
    EXPECT_EQ(json.at("id"), "a1");
    EXPECT_EQ(json.at("model_name"), "faces");
    const Json& outputs = json.at("outputs");
    EXPECT_EQ(outputs[0].at("name"), "prob_fake");
    EXPECT_EQ(outputs[0].at("shape"), Json({2}));
    EXPECT_EQ(outputs[0].at("data"), Json({expected_[0], expected_[1]}));
    EXPECT_EQ(outputs[1].at("name"), "verdict");
  };
  const Json tensor = {{"name", "image"}, {"datatype", "BYTES"}, {"shape", {2}}};
  Json in_json = tensor;
  in_json["data"] = {to_base64(bytes_[0]), to_base64(bytes_[1])};
  check(client.Post("/v2/models/faces/infer", Json({{"id", "a1"}, {"inputs", {in_json}}}).dump(),
                    "application/json"));
  // Of a shape [n, 1] a row is an array of one.
  Json rows = tensor;
  rows["shape"] = {2, 1};
  rows["data"] =
      Json::array({Json::array({to_base64(bytes_[0])}), Json::array({to_base64(bytes_[1])})});
  check(client.Post("/v2/models/faces/infer", Json({{"id", "a1"}, {"inputs", {rows}}}).dump(),
                    "application/json"));
  const Json asked = {{"inputs", {in_json}}, {"outputs", {{{"name", "verdict"}}}}};
  const Json outputs = Json::parse(
      client.Post("/v2/models/faces/infer", asked.dump(), "application/json")->body)["outputs"];
  ASSERT_EQ(outputs.size(), 1u) << outputs;
  EXPECT_EQ(outputs[0].at("name"), "verdict");

  std::string binary;
  for (int i = 0; i < 2; ++i) {
    const std::size_t size = bytes_[at(i)].size();
    for (int k = 0; k < 4; ++k) binary += static_cast<char>(size >> 8 * k & 0xFF);
    binary += bytes_[at(i)];
  }
  Json in_binary = tensor;
  in_binary["parameters"] = {{"binary_data_size", binary.size()}};
  const std::string head = Json({{"id", "a1"}, {"inputs", {in_binary}}}).dump();
  check(client.Post("/v2/models/faces/infer",
                    {{"Inference-Header-Content-Length", std::to_string(head.size())}},
                    head + binary, "application/octet-stream"));
}

TEST_F(Service, RefusesWhatTheProtocolDoesNotHave) {
  start();
  auto client = this->client();
  const auto code = [&](const std::string& body, const httplib::Headers& headers = {}) {
    const auto answer = client.Post("/v2/models/faces/infer", headers, body, "application/json");
    EXPECT_TRUE(answer);
    if (answer->status != 200) {
      EXPECT_TRUE(Json::parse(answer->body).contains("error")) << body;
    }
    return answer->status;
  };
  const auto tensor = [](const std::string& rest) {
    return R"({"inputs":[{"name":"image","datatype":"BYTES",)" + rest + "}]}";
  };
  for (const std::string& body : std::vector<std::string>{
           "no json", "[]", "{}", R"({"inputs":{}})", R"({"inputs":[]})", R"({"inputs":[1]})",
           R"({"inputs":[{"datatype":"FP32","shape":[1],"data":[1]}]})",
           tensor(R"("shape":[2],"data":["aaaa"])"), tensor(R"("shape":[1],"data":[3])"),
           tensor(R"("shape":[1],"data":["*"])"), tensor(R"("shape":[-1],"data":["aaaa"])"),
           tensor(R"("shape":[],"data":["aaaa"])"), tensor(R"("shape":[1,2],"data":["aaaa"])"),
           tensor(R"("shape":[1],"data":["bm8gcGljdHVyZQ=="])"), std::string(100000, '['),
           std::string(1000, '{')})
    EXPECT_EQ(code(body), 400) << body.substr(0, 80);
  for (const char* unit : {"{},", "[],", "0,"}) {
    std::string many = R"({"inputs":[)";
    for (int i = 0; i < 100000; ++i) many += unit;
    const auto answer = client.Post("/v2/models/faces/infer", many + "0]}", "application/json");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 400);
    EXPECT_NE(answer->body.find("more values"), std::string::npos) << answer->body;
  }
  EXPECT_EQ(code(tensor(R"("shape":[18446744073709551615],"data":[])")), 413);
  for (const char* outputs : {R"({})", R"([1])", R"([{"name":"logits"}])"}) {
    std::string body = tensor(R"("shape":[1],"data":["aaaa"])");
    body.insert(1, R"("outputs":)" + std::string(outputs) + ",");
    const auto answer = client.Post("/v2/models/faces/infer", body, "application/json");
    EXPECT_EQ(answer->status, 400);
    EXPECT_NE(answer->body.find("outputs"), std::string::npos) << answer->body;
  }
  EXPECT_EQ(code("{}", {{"Inference-Header-Content-Length", "9"}}), 400);
  EXPECT_EQ(code("{}", {{"Inference-Header-Content-Length", "x"}}), 400);
  const std::string one = tensor(R"("shape":[1])");
  EXPECT_EQ(code(one + "\x09", {{"Inference-Header-Content-Length", std::to_string(one.size())}}),
            400);
  EXPECT_EQ(code(one + std::string("\xff\xff\xff\xff", 4),
                 {{"Inference-Header-Content-Length", std::to_string(one.size())}}),
            400);
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
  const char* verdict = expected_[0] >= 0.4375 ? "fake" : "real";
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

TEST(Base64, HasTheVectorsOfRfc4648) {
  using serve::from_base64;
  for (const auto& [text, bytes] : std::map<std::string, std::string>{{"", ""},
                                                                      {"Zg==", "f"},
                                                                      {"Zm8=", "fo"},
                                                                      {"Zm9v", "foo"},
                                                                      {"Zm9vYg==", "foob"},
                                                                      {"Zm9vYmE=", "fooba"},
                                                                      {"Zm9vYmFy", "foobar"},
                                                                      {"+/+/", "\xfb\xff\xbf"},
                                                                      {"Zm9vYg", "foob"}})
    EXPECT_EQ(from_base64(text), bytes) << text;
  for (const char* text : {"Z", "Zm9vY", "Zm 9v", "Zm9v\n", "Zg=v", "===", "-_-_"})
    EXPECT_EQ(from_base64(text), std::nullopt) << text;
}

}  // namespace
}  // namespace dfengine
