// The Open Inference Protocol, version 2, which KServe, Triton and their clients speak.
#include "engine/serve/http/infer_request.h"
#include "engine/serve/http/service.h"
#include "kernels/base/numbers.h"

namespace dfengine::serve {
namespace {

// What the protocol calls a model's version: there is one at a time.
constexpr const char* kVersion = "1";
constexpr const char* kModel = R"(/v2/models/([^/]+)(?:/versions/1)?)";

nlohmann::json tensor(const char* name, const char* datatype) {
  return {{"name", name}, {"datatype", datatype}, {"shape", {-1}}};
}

std::optional<std::size_t> json_bytes(const httplib::Request& request) {
  const std::string text = request.get_header_value("Inference-Header-Content-Length");
  if (text.empty()) return std::nullopt;
  const auto bytes = number_of<std::size_t>(text);
  if (!bytes) throw Refusal{400, "Inference-Header-Content-Length is no number"};
  return bytes;
}

}  // namespace

void Service::add_kserve_routes() {
  const auto state = [this](Response& response, bool good) {
    set_json(response, {{"live", true}, {"ready", !server_.draining()}}, good ? 200 : 503);
  };
  get("/v2/health/live", "/v2/health/live", Access::Open,
      [state](const Request&, Response& response) { state(response, true); });
  get("/v2/health/ready", "/v2/health/ready", Access::Open,
      [this, state](const Request&, Response& response) { state(response, !server_.draining()); });
  get("/v2", "/v2", Access::Locked, [this](const Request&, Response& response) {
    set_json(response, {{"name", "dfengine"},
                        {"version", DFENGINE_VERSION},
                        {"extensions", {"binary_tensor_data"}},
                        {"models", models_.names()}});
  });
  get(kModel, "/v2/models/NAME", Access::Locked,
      [this](const Request& request, Response& response) {
        const auto served = model_for(request.matches[1]);
        const Model& model = served->model;
        set_json(
            response,
            {{"name", served->name},
             {"versions", {kVersion}},
             {"platform", "dfengine_" + model.config.architecture},
             {"inputs", {tensor("image", "BYTES")}},
             {"outputs",
              {tensor(kProbFake, "FP64"), tensor(kVerdict, "BYTES"), tensor(kIsUnsure, "BOOL")}},
             {"parameters",
              {{"threshold", model.threshold},
               {"positive_class", model.positive_class},
               {"classes", model.classes}}}});
      });
  get(std::string(kModel) + "/ready", "/v2/models/NAME/ready", Access::Locked,
      [this](const Request& request, Response& response) {
        const std::string name = model_for(request.matches[1])->name;
        set_json(response, {{"name", name}, {"ready", !server_.draining()}},
                 server_.draining() ? 503 : 200);
      });
  post(std::string(kModel) + "/infer", "/v2/models/NAME/infer", {},
       [this](auto& request, auto& response, auto& reader) {
         infer(request.matches[1], request, response, reader);
       });
}

void Service::infer(const std::string& name, const Request& request, Response& response,
                    const Reader& reader) {
  BodyRoom::Share share(room_);
  std::string body = read_text(request, reader, options_.limits, share);
  auto served = model_for(name);
  // It is there twice at most while it is taken apart.
  if (!share.take(body.size())) throw too_busy();
  InferRequest inference =
      parse_infer_request(std::move(body), json_bytes(request), options_.limits);
  const auto ticket = answer(std::move(served), Work::Classify, std::move(inference.pictures));
  const Model& model = ticket->model->model;
  Json probs = Json::array(), verdicts = Json::array(), unsure = Json::array();
  for (std::size_t i = 0; i < ticket->pictures.size(); ++i) {
    const Picture& picture = ticket->pictures[i];
    // The protocol has no error of one element.
    if (!picture.prob) throw Refusal{400, "picture " + std::to_string(i) + ": " + picture.error};
    probs.push_back(*picture.prob);
    verdicts.push_back(model.verdict(*picture.prob));
    unsure.push_back(picture.unsure);
  }
  Json outputs = Json::array();
  for (const std::string& asked : inference.outputs) {
    Json output = asked == kProbFake  ? Json{{"datatype", "FP64"}, {"data", probs}}
                  : asked == kVerdict ? Json{{"datatype", "BYTES"}, {"data", verdicts}}
                                      : Json{{"datatype", "BOOL"}, {"data", unsure}};
    output["name"] = asked;
    output["shape"] = {ticket->pictures.size()};
    outputs.push_back(std::move(output));
  }
  Json answer = {{"model_name", ticket->model->name},
                 {"model_version", kVersion},
                 {"outputs", std::move(outputs)}};
  if (!inference.id.empty()) answer["id"] = inference.id;
  set_json(response, answer);
}

}  // namespace dfengine::serve
