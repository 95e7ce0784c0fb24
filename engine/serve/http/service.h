// The HTTP service: its routes, limits, keys and log.
#pragma once

#include <nlohmann/json.hpp>
#include <set>

#include "engine/serve/http/bodies.h"
#include "engine/serve/http/http_server.h"
#include "engine/serve/models.h"

namespace dfengine::serve {

struct ServiceOptions {
  HttpOptions http;
  BodyLimits limits;
  std::vector<std::string> keys;  // any of them opens the service; none: it is open
};

class Service {
 public:
  // Binds and answers nothing before run(). log: gets a JSON line for each request, from any
  // thread. All references must outlive it. Throws UsageError where it cannot listen.
  Service(const ServiceOptions& options, Scorer& scorer, Models& models, Metrics& metrics,
          std::function<void(const std::string&)> log);

  int port() const { return server_.port(); }
  void run() { server_.run(); }
  void drain() { server_.drain(); }
  void set_keys(const std::vector<std::string>& keys);

 private:
  using Request = httplib::Request;
  using Response = httplib::Response;
  using Reader = httplib::ContentReader;
  using Json = nlohmann::json;

  // What the log and the metrics say of a request beside its answer.
  struct Record {
    std::string route = "none", model;
    std::size_t pictures = 0;
    std::optional<Clock::time_point> begin = {};  // none for what is no request
  };

  void add_routes();
  void add_kserve_routes();
  void add_page();
  // Registers a handler whose exceptions become answers. What is locked needs a key.
  enum class Access { Open, Locked };
  using Handle = std::function<void(const Request&, Response&)>;
  using HandleBody = std::function<void(const Request&, Response&, const Reader&)>;
  void get(const std::string& pattern, const std::string& route, Access access, Handle handle);
  // parameters: those that the route knows; others are refused.
  void post(const std::string& pattern, const std::string& route,
            const std::vector<std::string>& parameters, HandleBody handle);
  void guard(const std::string& route, Access access, const Request& request, Response& response,
             const std::function<void()>& body);
  void check_key(const Request& request) const;
  void write_log(const Request& request, const Response& response);

  std::shared_ptr<ServedModel> model_for(const std::string& name);
  // Gives the pictures to the scorer and waits for their answers. Throws Refusal.
  std::shared_ptr<Ticket> answer(std::shared_ptr<ServedModel> model, Work work,
                                 std::vector<Picture> pictures);
  void classify(const Request& request, Response& response, const Reader& reader);
  void explain(const Request& request, Response& response, const Reader& reader);
  void infer(const std::string& name, const Request& request, Response& response,
             const Reader& reader);

  static thread_local Record record_;

  const ServiceOptions options_;
  Scorer& scorer_;
  Models& models_;
  Metrics& metrics_;
  const std::function<void(const std::string&)> log_;
  BodyRoom room_;
  mutable std::mutex mutex_;
  std::set<std::string> keys_;  // their digests
  HttpServer server_;
};

// An answer in JSON. Text that is not UTF-8 has its bytes replaced.
void set_json(httplib::Response& response, const nlohmann::json& json, int code = 200);

}  // namespace dfengine::serve
