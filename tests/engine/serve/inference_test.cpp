// The Open Inference Protocol as the service speaks it, and that it says of a picture what the
// other routes say.
#include "engine/serve/http/base64.h"

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

using Inference = test::RunningService;

TEST_F(Inference, CallsAPictureTheSameEverywhere) {
  Model model = load_model(model_);
  model.classes = {"photo", "painted"};
  model.positive_class = "painted";
  // Three of the seven lie in the band.
  std::vector<double> sorted = expected_;
  std::ranges::sort(sorted);
  model.threshold = sorted[3];
  model.unsure = UnsureBand{sorted[1], sorted[5]};
  save_model(model_, model);
  start();
  auto client = this->client();
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    const auto classified = client.Post("/classify", bytes_[i], "image/jpeg");
    const auto explained = client.Post("/explain", bytes_[i], "image/jpeg");
    const Json tensor = {
        {"name", "image"}, {"datatype", "BYTES"}, {"shape", {1}}, {"data", {to_base64(bytes_[i])}}};
    const auto inferred = client.Post("/v2/models/faces/infer", Json({{"inputs", {tensor}}}).dump(),
                                      "application/json");
    ASSERT_TRUE(classified && explained && inferred);
    ASSERT_EQ(explained->status, 200) << explained->body;
    ASSERT_EQ(inferred->status, 200) << inferred->body;
    const Json result = Json::parse(classified->body).at("results")[0];
    const std::string verdict = expected_[i] >= sorted[3] ? "painted" : "photo";
    const bool unsure = expected_[i] > sorted[1] && expected_[i] < sorted[5];
    EXPECT_EQ(result.at("verdict"), verdict);
    EXPECT_EQ(result.at("unsure"), unsure);
    EXPECT_EQ(explained->get_header_value("X-Verdict"), verdict);
    EXPECT_EQ(explained->get_header_value("X-Unsure"), unsure ? "true" : "false");
    const Json outputs = Json::parse(inferred->body).at("outputs");
    ASSERT_EQ(outputs.size(), 3u);
    EXPECT_EQ(outputs[1].at("data"), Json::array({verdict}));
    EXPECT_EQ(outputs[2].at("name"), "unsure");
    EXPECT_EQ(outputs[2].at("datatype"), "BOOL");
    EXPECT_EQ(outputs[2].at("data"), Json::array({unsure}));
  }
  EXPECT_EQ(metric(R"(dfengine_verdicts_total{model="faces",verdict="unsure"})"), 3 * 3);
}

TEST_F(Inference, SpeaksTheOpenInferenceProtocol) {
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

TEST_F(Inference, RefusesWhatTheProtocolDoesNotHave) {
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
