#include "weights/download.h"

#include <fmt/format.h>

#include "kernels/base/error.h"

#if DFENGINE_DOWNLOAD
#include <curl/curl.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "kernels/base/file_lock.h"

namespace dfengine::weights {
namespace {

constexpr long kConnectSeconds = 30;
// A connection slower than this for so long is given up; the next try goes on from there.
constexpr long kSlowestBytesPerSecond = 100, kSlowSeconds = 60;
constexpr long kMaxRedirects = 5;

struct CurlFree {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};

// What the write callback needs.
struct Target {
  CURL* curl;
  int file;
  std::uint64_t size;  // bytes in the file
  std::uint64_t most;
  bool begun = false;
  std::string problem;
};

// A server that knows no ranges sends the whole file, and what was there is dropped.
bool begin(Target& target) {
  long status = 0;
  curl_easy_getinfo(target.curl, CURLINFO_RESPONSE_CODE, &status);
  constexpr long kPartialContent = 206;
  if (status == kPartialContent || target.size == 0) return true;
  target.size = 0;
  return ::ftruncate(target.file, 0) == 0 && ::lseek(target.file, 0, SEEK_SET) == 0;
}

// C calls this, so that it must not throw. Returning less than all bytes stops the transfer.
std::size_t take(const char* data, std::size_t, std::size_t count, void* user) noexcept {
  auto& target = *static_cast<Target*>(user);
  if (!target.begun && !begin(target)) {
    target.problem = std::strerror(errno);
    return 0;
  }
  target.begun = true;
  if (count > target.most - target.size) {
    target.problem = "is too large";
    return 0;
  }
  if (!write_all(target.file, std::as_bytes(std::span(data, count)))) {
    target.problem = std::strerror(errno);
    return 0;
  }
  target.size += count;
  return count;
}

void set_options(CURL* curl, const std::string& url, Target& target) {
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kMaxRedirects);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kSlowestBytesPerSecond);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kSlowSeconds);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // signals are the program's
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &target);
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

}  // namespace

void download(const std::string& url, const std::filesystem::path& part, std::uint64_t most) {
  const UniqueFd file = open_part(part);
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size < 0) throw ModelFileError(fmt::format("{}: {}", part.string(), std::strerror(errno)));
  const std::unique_ptr<CURL, CurlFree> curl(curl_easy_init());
  if (!curl) throw ModelFileError("libcurl cannot be started");
  Target target{curl.get(), file.get(), static_cast<std::uint64_t>(size), most, false, ""};
  set_options(curl.get(), url, target);
  const std::string rest = fmt::format("{}-", target.size);
  // libcurl's own resumption is not used, because it fails where a server knows no ranges.
  if (target.size > 0) curl_easy_setopt(curl.get(), CURLOPT_RANGE, rest.c_str());
  const CURLcode result = curl_easy_perform(curl.get());
  if (result == CURLE_OK) return;
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  constexpr long kNothingBeyond = 416;
  if (status == kNothingBeyond && target.size > 0) return;  // it was whole already, or is wrong
  if (!target.problem.empty()) throw ModelFileError(target.problem);
  const bool refused = result == CURLE_HTTP_RETURNED_ERROR;
  throw ModelFileError(refused ? fmt::format("the server answers {}", status)
                               : curl_easy_strerror(result));
}

}  // namespace dfengine::weights

#else

namespace dfengine::weights {

void download(const std::string&, const std::filesystem::path&, std::uint64_t) {
  throw ModelFileError(
      "this dfengine was built without libcurl (Debian: libcurl4-openssl-dev; configure with "
      "-DDFENGINE_DOWNLOAD=ON)");
}

}  // namespace dfengine::weights

#endif
