#include "engine/serve/http/bodies.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/data/sets/class_names.h"

namespace dfengine::serve {
namespace {

std::string too_large(const BodyLimits& limits) {
  return fmt::format("a body of more than {} bytes", limits.body);
}

// httplib waits for the connection's end where neither is told.
bool has_body(const httplib::Request& request) {
  return request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
}

// httplib passes over a body that says itself that it is larger than may be.
void check_length(const httplib::Request& request, const httplib::ContentReader& reader,
                  const BodyLimits& limits) {
  const std::string length = request.get_header_value("Content-Length");
  if (length.empty() || (length.size() < 20 && std::stoull(length) <= limits.body)) return;
  pass_over(request, reader);
  throw Refusal{413, too_large(limits)};
}

// Keeps what comes in until there is a reason to refuse it; then it only passes by.
class Receiver {
 public:
  Receiver(const BodyLimits& limits, BodyRoom::Share& share) : limits_(limits), share_(share) {}

  void begin(const std::string& name) {
    if (pictures_.size() == limits_.pictures)
      refuse(413, fmt::format("more than {} pictures in a request", limits_.pictures));
    if (!refusal_) pictures_.push_back({.name = name});
  }
  // False: nobody knows how much more would come.
  bool add(const char* data, std::size_t size) {
    if (size > limits_.body - bytes_) {
      refuse(413, too_large(limits_));
      return false;
    }
    bytes_ += size;
    if (!refusal_ && !share_.take(size)) refuse(too_busy().code, too_busy().message);
    if (!refusal_) pictures_.back().bytes.append(data, size);
    return true;
  }
  std::vector<Picture> result(bool whole) {
    if (refusal_) {
      refusal_->close = !whole;
      throw *refusal_;
    }
    if (!whole) throw Refusal{400, "the body is cut, or no multipart body as it says", true};
    return std::move(pictures_);
  }

 private:
  void refuse(int code, std::string message) {
    if (!refusal_) refusal_ = Refusal{code, std::move(message)};
    pictures_ = {};
  }

  const BodyLimits& limits_;
  BodyRoom::Share& share_;
  std::optional<Refusal> refusal_;
  std::vector<Picture> pictures_;
  std::size_t bytes_ = 0;
};

std::vector<Picture> receive_pictures(const httplib::Request& request,
                                      const httplib::ContentReader& reader, Receiver& receiver) {
  const auto add = [&](const char* data, std::size_t size) { return receiver.add(data, size); };
  if (!has_body(request)) return {};
  if (!request.is_multipart_form_data()) {
    receiver.begin("");
    return receiver.result(reader(add));
  }
  const bool whole = reader(
      [&](const httplib::MultipartFormData& part) {
        receiver.begin(part.filename.empty() ? part.name : part.filename);
        return true;
      },
      add);
  return receiver.result(whole);
}

}  // namespace

void check_head(const httplib::Request& request) {
  for (const auto& [name, value] : request.headers)
    if (name.find_first_of(" \t") != std::string::npos)
      throw Refusal{400, "there is a space in the name of a header", true};
  const std::string length = request.get_header_value("Content-Length");
  const std::size_t lengths = request.get_header_value_count("Content-Length");
  const std::size_t codings = request.get_header_value_count("Transfer-Encoding");
  if (lengths > 1 || (lengths == 1 && length.empty()) ||
      length.find_first_not_of("0123456789") != std::string::npos)
    throw Refusal{400, "Content-Length is no number", true};
  if (codings > 1 || (codings == 1 && lengths == 1))
    throw Refusal{400, "Content-Length and Transfer-Encoding contradict each other", true};
  if (codings == 1 && lower_case(request.get_header_value("Transfer-Encoding")) != "chunked")
    throw Refusal{501, "of transfer encodings only chunked is known here", true};
  if (request.has_header("Content-Encoding") &&
      (request.get_header_value_count("Content-Encoding") > 1 ||
       lower_case(request.get_header_value("Content-Encoding")) != "identity"))
    throw Refusal{415, "the body is packed: send it without a Content-Encoding", true};
  // The one other method whose body httplib reads, and keeps.
  if (request.method == "PRI") throw Refusal{501, "there is no method PRI here", true};
}

bool is_read_whole(const httplib::Request& request) {
  if (request.has_header("Transfer-Encoding")) return false;
  const std::string& method = request.method;
  if (method == "POST" || method == "PUT" || method == "PATCH" || method == "DELETE")
    return request.has_header("Content-Length");
  const std::string length = request.get_header_value("Content-Length");
  return length.find_first_not_of('0') == std::string::npos;
}

bool pass_over(const httplib::Request& request, const httplib::ContentReader& reader) {
  const auto nowhere = [](const char*, std::size_t) { return true; };
  if (!has_body(request)) return true;
  if (!request.is_multipart_form_data()) return reader(nowhere);
  return reader([](const httplib::MultipartFormData&) { return true; }, nowhere);
}

Refusal too_busy() {
  return {429, "the service is busy: too many bodies are on their way"};
}

bool BodyRoom::Share::take(std::size_t bytes) {
  if (room_.used_.fetch_add(bytes) + bytes > room_.bytes_) {
    room_.used_ -= bytes;
    return false;
  }
  taken_ += bytes;
  return true;
}

std::vector<Picture> read_pictures(const httplib::Request& request,
                                   const httplib::ContentReader& reader, const BodyLimits& limits,
                                   BodyRoom::Share& share) {
  check_length(request, reader, limits);
  Receiver receiver(limits, share);
  std::vector<Picture> pictures = receive_pictures(request, reader, receiver);
  const auto is_empty = [](const Picture& picture) { return picture.bytes.empty(); };
  if (std::ranges::all_of(pictures, is_empty))
    throw Refusal{400,
                  "no picture in the body: send one as it is, or several as multipart/form-data"};
  return pictures;
}

std::string read_text(const httplib::Request& request, const httplib::ContentReader& reader,
                      const BodyLimits& limits, BodyRoom::Share& share) {
  check_length(request, reader, limits);
  if (!has_body(request)) return "";
  Receiver receiver(limits, share);
  receiver.begin("");
  const bool whole =
      reader([&](const char* data, std::size_t size) { return receiver.add(data, size); });
  return std::move(receiver.result(whole).front().bytes);
}

}  // namespace dfengine::serve
