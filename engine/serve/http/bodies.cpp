#include "engine/serve/http/bodies.h"

#include <fmt/format.h>

#include <optional>

namespace dfengine::serve {
namespace {

std::string too_large(const BodyLimits& limits) {
  return fmt::format("a body of more than {} bytes", limits.body);
}

// httplib passes over a body that says itself that it is larger than may be.
void check_length(const httplib::Request& request, const httplib::ContentReader& reader,
                  const BodyLimits& limits) {
  const std::string length = request.get_header_value("Content-Length");
  if (length.find_first_not_of("0123456789") != std::string::npos)
    throw Refusal{400, "Content-Length is no number", true};
  if (length.size() < 20 && (length.empty() || std::stoull(length) <= limits.body)) return;
  const bool bounded = length.size() < 20;
  if (bounded) pass_over(request, reader);
  throw Refusal{413, too_large(limits), !bounded};
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
  void add(const char* data, std::size_t size) {
    if (!refusal_ && size > limits_.body - bytes_) refuse(413, too_large(limits_));
    if (!refusal_ && !share_.take(size))
      refuse(429, "the service is busy: too many bodies are on their way");
    if (refusal_) return;
    bytes_ += size;
    pictures_.back().bytes.append(data, size);
  }
  std::vector<Picture> result(bool whole) {
    if (!whole) throw Refusal{400, "the body is cut, or no multipart body as it says", true};
    if (refusal_) throw *refusal_;
    if (pictures_.empty() || bytes_ == 0)
      throw Refusal{400,
                    "no picture in the body: send one as it is, or several as multipart/form-data"};
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

}  // namespace

bool pass_over(const httplib::Request& request, const httplib::ContentReader& reader) {
  const auto nowhere = [](const char*, std::size_t) { return true; };
  if (!request.is_multipart_form_data()) return reader(nowhere);
  return reader([](const httplib::MultipartFormData&) { return true; }, nowhere);
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
  const auto add = [&](const char* data, std::size_t size) {
    receiver.add(data, size);
    return true;
  };
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

std::string read_text(const httplib::Request& request, const httplib::ContentReader& reader,
                      const BodyLimits& limits, BodyRoom::Share& share) {
  check_length(request, reader, limits);
  Receiver receiver(limits, share);
  receiver.begin("");
  const bool whole = reader([&](const char* data, std::size_t size) {
    receiver.add(data, size);
    return true;
  });
  return std::move(receiver.result(whole).front().bytes);
}

}  // namespace dfengine::serve
