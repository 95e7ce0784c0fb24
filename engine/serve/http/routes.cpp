// The routes for people: pictures in, JSON or a PNG out.
#include <fmt/format.h>

#include "engine/data/pictures/png_encode.h"
#include "engine/serve/http/service.h"
#include "engine/serve/http/texts.h"

namespace dfengine::serve {
namespace {

nlohmann::json json_of(const Picture& picture, const Model& model) {
  nlohmann::json one = nlohmann::json::object();
  if (!picture.name.empty()) one["name"] = picture.name;
  if (!picture.prob) {
    one["error"] = picture.error;
    return one;
  }
  one["prob_fake"] = *picture.prob;
  one["verdict"] = model.verdict(*picture.prob);
  one["unsure"] = picture.unsure;
  if (const std::optional<Stability>& stability = picture.stability) {
    one["prob_low"] = stability->low;
    one["prob_high"] = stability->high;
    one["stable"] = !stability->flips;
  }
  return one;
}

Work work_of(const httplib::Request& request) {
  const std::string stability = request.get_param_value("stability");
  if (stability.empty() || stability == "0") return Work::Classify;
  if (stability == "1") return Work::Stability;
  throw Refusal{400, "stability is 1 or 0"};
}

}  // namespace

void Service::add_routes() {
  post(
      "/classify", "/classify", {"model", "stability"},
      [this](auto& request, auto& response, auto& reader) { classify(request, response, reader); });
  post("/explain", "/explain", {"model"},
       [this](auto& request, auto& response, auto& reader) { explain(request, response, reader); });
  get("/metrics", "/metrics", Access::Locked, [this](const Request&, Response& response) {
    response.set_content(metrics_.text(scorer_.waiting()), "text/plain; version=0.0.4");
  });
  get("/openapi.json", "/openapi.json", Access::Open, [](const Request&, Response& response) {
    response.set_content(kOpenApi.data(), kOpenApi.size(), "application/json");
  });
}

void Service::classify(const Request& request, Response& response, const Reader& reader) {
  BodyRoom::Share share(room_);
  std::vector<Picture> pictures = read_pictures(request, reader, options_.limits, share);
  const Work work = work_of(request);
  auto served = model_for(request.get_param_value("model"));
  const auto ticket = answer(std::move(served), work, std::move(pictures));
  const Model& model = ticket->model->model;
  Json results = Json::array();
  bool any = false;
  for (const Picture& picture : ticket->pictures) {
    results.push_back(json_of(picture, model));
    any = any || picture.prob;
  }
  set_json(response,
           {{"model", ticket->model->name},
            {"positive_class", model.positive_class},
            {"threshold", model.threshold},
            {"results", std::move(results)}},
           any ? 200 : 422);
}

// The answer's numbers stand in headers.
void Service::explain(const Request& request, Response& response, const Reader& reader) {
  BodyRoom::Share share(room_);
  std::vector<Picture> pictures = read_pictures(request, reader, options_.limits, share);
  if (pictures.size() != 1) throw Refusal{400, "one picture a request: a heat map is one PNG"};
  auto served = model_for(request.get_param_value("model"));
  if (!served->model.config.quantization.empty())
    throw Refusal{400,
                  "a quantized model has no heat maps: serve the one it was made from beside it"};
  const auto ticket = answer(std::move(served), Work::Explain, std::move(pictures));
  const Picture& picture = ticket->pictures.front();
  if (!picture.prob) throw Refusal{422, picture.error};
  const Model& model = ticket->model->model;
  const Index size = model.config.input_size;
  const auto png = encode_png(overlay(ImageView(picture.square.data(), size, size), picture.map));
  response.set_header("X-Prob-Fake", fmt::format("{}", *picture.prob));
  response.set_header("X-Verdict", model.verdict(*picture.prob));
  response.set_header("X-Unsure", picture.unsure ? "true" : "false");
  response.set_content(reinterpret_cast<const char*>(png.data()), png.size(), "image/png");
}

void Service::add_page() {
  constexpr const char* kPolicy =
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
      "connect-src "
      "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  const auto add = [&](const char* path, std::string_view text, const char* type) {
    get(path, path, Access::Open, [text, type](const Request&, Response& response) {
      response.set_header("Content-Security-Policy", kPolicy);
      response.set_header("Referrer-Policy", "no-referrer");
      response.set_content(text.data(), text.size(), type);
    });
  };
  add("/", kPageHtml, "text/html; charset=utf-8");
  add("/page.css", kPageCss, "text/css; charset=utf-8");
  add("/page.js", kPageJs, "text/javascript; charset=utf-8");
}

}  // namespace dfengine::serve
