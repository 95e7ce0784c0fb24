#include "engine/serve/http/service.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/data/sets/class_names.h"
#include "kernels/base/sha256.h"

namespace dfengine::serve {
namespace {

std::string digest_of(const std::string& key) {
  return sha256_hex(std::as_bytes(std::span(key)));
}

// Of what httplib refuses itself.
const char* reason(int code) {
  switch (code) {
    case 404:
      return "there is nothing here: /openapi.json says what there is";
    case 413:
      return "the body is larger than the service takes";
    case 414:
      return "the address is too long";
    default:
      return "the request is not as HTTP/1.1 has it, or its head is longer than 64 KiB";
  }
}

// What is not read would be taken for said. parameters: those that the route knows.
void check_parameters(const httplib::Request& request, const std::vector<std::string>& parameters) {
  std::string known;
  for (const std::string& one : parameters) known += (known.empty() ? ": " : ", ") + one;
  for (const auto& [name, value] : request.params) {
    if (std::ranges::find(parameters, name) == parameters.end())
      throw Refusal{400, fmt::format("there is no parameter '{}' here; those there are{}", name,
                                     known.empty() ? ": none" : known)};
    if (request.get_param_value_count(name) > 1)
      throw Refusal{400, fmt::format("the parameter '{}' stands there twice", name)};
  }
}

// The key of "Authorization: Bearer KEY", whose first word may have any case (RFC 9110, 11.1); ""
// of others.
std::string bearer_key(std::string_view authorization) {
  constexpr std::string_view kBearer = "bearer ";
  if (lower_case(authorization.substr(0, kBearer.size())) != kBearer) return "";
  const std::size_t begin = authorization.find_first_not_of(' ', kBearer.size());
  return std::string(authorization.substr(std::min(begin, authorization.size())));
}

std::string utc_now() {
  const auto now = std::chrono::system_clock::now();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  const auto part = std::chrono::duration_cast<std::chrono::milliseconds>(now - seconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)), part.count());
}

}  // namespace

thread_local Service::Record Service::record_;

void set_json(httplib::Response& response, const nlohmann::json& json, int code) {
  response.status = code;
  response.set_content(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                       "application/json");
}

Service::Service(const ServiceOptions& options, Scorer& scorer, Models& models, Metrics& metrics,
                 std::function<void(const std::string&)> log)
    : options_(options),
      scorer_(scorer),
      models_(models),
      metrics_(metrics),
      log_(std::move(log)),
      room_(options.limits.all),
      server_(options.http) {
  set_keys(options.keys);
  server_.set_payload_max_length(options.limits.body);
  server_.set_keep_alive_timeout(30);
  server_.set_keep_alive_max_count(1'000'000);
  server_.set_default_headers({{"Server", "dfengine"},
                               {"X-Content-Type-Options", "nosniff"},
                               {"Cache-Control", "no-store"}});
  server_.set_error_handler([](const Request&, Response& response) {
    if (response.body.empty())
      set_json(response, {{"error", reason(response.status)}}, response.status);
  });
  server_.set_logger(
      [this](const Request& request, const Response& response) { write_log(request, response); });
  server_.set_pre_routing_handler([this](const Request& request, Response& response) {
    record_ = {};
    record_.begin = Clock::now();
    bool good = false;
    guard("none", Access::Open, request, response, [&] {
      check_head(request);
      HttpServer::head_is_read(options_.limits.body + kBodySlack);
      if (!is_read_whole(request)) HttpServer::close_connection(response);
      good = true;
    });
    using Answer = httplib::Server::HandlerResponse;
    return good ? Answer::Unhandled : Answer::Handled;
  });
  add_routes();
  add_kserve_routes();
  add_page();
  // Bodies that nobody asked for are read and left, so that the connection can go on.
  const auto nowhere = [this](const Request& request, Response& response, const Reader& reader) {
    guard("none", Access::Open, request, response, [&] {
      const bool whole = pass_over(request, reader);
      throw Refusal{404, "there is nothing here to send to", !whole};
    });
  };
  server_.Post(".*", nowhere);
  server_.Put(".*", nowhere);
  server_.Patch(".*", nowhere);
  server_.Delete(".*", nowhere);
}

void Service::set_keys(const std::vector<std::string>& keys) {
  const std::lock_guard lock(mutex_);
  keys_.clear();
  for (const std::string& key : keys) keys_.insert(digest_of(key));
}

// Digests are compared: how long that takes says nothing about a key.
void Service::check_key(const Request& request) const {
  const std::lock_guard lock(mutex_);
  if (keys_.empty()) return;
  std::string key = request.get_header_value("X-API-Key");
  if (key.empty()) key = bearer_key(request.get_header_value("Authorization"));
  if (!keys_.contains(digest_of(key)))
    throw Refusal{401, "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"};
}

void Service::guard(const std::string& route, Access access, const Request& request,
                    Response& response, const std::function<void()>& body) {
  record_.route = route;
  try {
    if (access == Access::Locked) check_key(request);
    body();
  } catch (const Refusal& refusal) {
    set_json(response, {{"error", refusal.message}}, refusal.code);
    if (refusal.close) HttpServer::close_connection(response);
    if (refusal.code == 401) response.set_header("WWW-Authenticate", "Bearer");
    if (refusal.code == 429) {
      // When what waits now is done.
      const double rate = std::max(scorer_.rate(), 1.0);
      const double seconds = static_cast<double>(scorer_.waiting()) / rate;
      response.set_header("Retry-After", std::to_string(1 + static_cast<int>(seconds)));
    }
  } catch (const std::bad_alloc&) {
    set_json(response, {{"error", "out of memory"}}, 503);
  } catch (const std::exception& e) {
    set_json(response, {{"error", e.what()}}, 500);
  }
}

void Service::get(const std::string& pattern, const std::string& route, Access access,
                  Handle handle) {
  server_.Get(pattern, [this, route, access, handle = std::move(handle)](const Request& request,
                                                                         Response& response) {
    guard(route, access, request, response, [&] { handle(request, response); });
  });
}

void Service::post(const std::string& pattern, const std::string& route,
                   const std::vector<std::string>& parameters, HandleBody handle) {
  server_.Post(pattern, [this, route, parameters, handle = std::move(handle)](
                            const Request& request, Response& response, const Reader& reader) {
    guard(route, Access::Open, request, response, [&] {
      try {
        check_key(request);
        check_parameters(request, parameters);
      } catch (Refusal& refusal) {
        refusal.close = !pass_over(request, reader);
        throw;
      }
      handle(request, response, reader);
    });
  });
}

// Nothing of a picture, and of the request's own text only what is known here.
void Service::write_log(const Request& request, const Response& response) {
  // What this thread meets next may be no request, and would be taken for this one.
  const Record record = std::exchange(record_, {});
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - record.begin.value_or(now)).count();
  metrics_.request(record.route, response.status, seconds);
  if (!log_) return;
  Json line = {{"time", utc_now()},
               {"client", request.remote_addr},
               {"method", request.method.substr(0, 16)},
               {"route", record.route},
               {"status", response.status},
               {"seconds", seconds},
               {"answer_bytes", response.body.size()}};
  if (record.pictures > 0) line["pictures"] = record.pictures;
  if (!record.model.empty()) line["model"] = record.model;
  log_(line.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::shared_ptr<ServedModel> Service::model_for(const std::string& name) {
  std::shared_ptr<ServedModel> model = models_.find(name);
  if (!model) throw Refusal{404, "there is no model of that name: GET /v2 lists them"};
  record_.model = model->name;
  return model;
}

std::shared_ptr<Ticket> Service::answer(std::shared_ptr<ServedModel> model, Work work,
                                        std::vector<Picture> pictures) {
  record_.pictures = pictures.size();
  auto ticket =
      std::make_shared<Ticket>(std::move(model), work, std::move(pictures),
                               record_.begin.value_or(Clock::now()) + options_.http.timeout);
  if (!scorer_.admit(ticket)) throw Refusal{429, "the service is busy: the queue is full"};
  if (!ticket->wait()) throw Refusal{503, "no answer within the time that a request may take"};
  for (const Picture& picture : ticket->pictures)
    if (picture.failed) throw Refusal{500, picture.error};
  return ticket;
}

}  // namespace dfengine::serve
