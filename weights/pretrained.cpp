#include "weights/pretrained.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "kernels/base/atomic_file.h"
#include "kernels/base/cache_folder.h"
#include "kernels/base/error.h"
#include "kernels/base/sha256.h"
#include "kernels/base/unique_fd.h"
#include "weights/download.h"
#include "weights/read_file.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {
namespace {

namespace fs = std::filesystem;

// torchvision's MobileNet_V2_Weights.IMAGENET1K_V1.
constexpr const char* kOfficial = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth";
constexpr const char* kOverride = "DFENGINE_WEIGHTS_URL";
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 30;

// An environment variable that is set and not empty.
std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

fs::path folder_for_downloads() {
  if (const auto folder = cache_folder()) return *folder;
  throw ModelFileError(
      "imagenet: neither XDG_CACHE_HOME nor HOME says where downloaded weights may be kept");
}

struct Source {
  std::string url;
  std::string file;    // last part of the address
  std::string prefix;  // of the content's SHA-256, in hexadecimal
};

// The digits between the last '-' and the '.' behind it.
std::string digest_in(const std::string& file) {
  const std::size_t dash = file.rfind('-');
  if (dash == std::string::npos) return "";
  const std::string digits = file.substr(dash + 1, file.find('.', dash) - dash - 1);
  constexpr std::size_t kLeast = 8, kWhole = 64;
  const bool fits = digits.size() >= kLeast && digits.size() <= kWhole &&
                    digits.find_first_not_of("0123456789abcdef") == std::string::npos;
  return fits ? digits : "";
}

Source source() {
  const auto other = variable(kOverride);
  Source s{other.value_or(kOfficial), "", ""};
  const std::string path = s.url.substr(0, s.url.find_first_of("?#"));
  s.file = path.substr(path.rfind('/') + 1);
  constexpr const char* kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
  s.prefix = digest_in(s.file);
  if (s.prefix.empty() || s.file.find_first_not_of(kLetters) != std::string::npos) {
    throw ModelFileError(fmt::format(
        "imagenet: {} is {}: its file name must end in '-', the first 8 or more digits of the "
        "content's SHA-256 and an extension, as mobilenet_v2-b0353104.pth",
        kOverride, printable(s.url)));
  }
  return s;
}

// Makes the folder; a download that brings nothing leaves none of those that were not there before.
class DownloadFolder {
 public:
  explicit DownloadFolder(const fs::path& folder) {
    for (fs::path absent = folder; !fs::exists(absent); absent = absent.parent_path())
      made_.push_back(absent);
    fs::create_directories(folder);
  }
  DownloadFolder(const DownloadFolder&) = delete;
  DownloadFolder& operator=(const DownloadFolder&) = delete;
  // The deepest first; one that holds something stays.
  ~DownloadFolder() {
    std::error_code stays;
    for (const fs::path& folder : made_) fs::remove(folder, stays);
  }

 private:
  std::vector<fs::path> made_;
};

// As download(), of which an empty beginning is none.
void download_part(const std::string& url, const fs::path& part) {
  try {
    download(url, part, kMaxSize);
  } catch (...) {
    std::error_code unreadable;
    if (fs::file_size(part, unreadable) == 0) fs::remove(part, unreadable);
    throw;
  }
}

void fetch(const Source& s, const fs::path& target) {
  const DownloadFolder made(target.parent_path());
  // Another process that downloads to the same place is waited for.
  const UniqueFd folder(open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || flock(folder.get(), LOCK_EX) != 0)
    throw Error(fmt::format("{}: {}", target.parent_path().string(), std::strerror(errno)));
  if (fs::exists(target)) return;
  const fs::path part = target.string() + ".part";
  download_part(s.url, part);
  const std::vector<std::byte> content = read_file(part);
  const std::string found = sha256_hex(content);
  const bool right = found.starts_with(s.prefix);
  if (right) write_file_atomic(target, content);
  fs::remove(part);
  if (!right) {
    throw ModelFileError(fmt::format(
        "the content has SHA-256 {}..., the name promises {}; it was removed, try again",
        found.substr(0, s.prefix.size()), s.prefix));
  }
}

}  // namespace

std::filesystem::path find_weights(const std::filesystem::path& given) {
  std::error_code unreadable;
  const fs::path kept = given / kKeptModel;
  if (!given.empty() && fs::is_directory(given, unreadable) && fs::exists(kept, unreadable))
    return kept;
  if (given != kImagenet) return given;
  const Source s = source();
  const fs::path target = folder_for_downloads() / s.file;
  if (fs::exists(target, unreadable)) return target;
  const auto fail = [&](const char* cause) {
    throw ModelFileError(
        fmt::format("imagenet: cannot download {}: {}\nWithout a network: fetch that file by other "
                    "means and put it at {}",
                    s.url, cause, target.string()));
  };
  try {
    fetch(s, target);
  } catch (const fs::filesystem_error& e) {
    fail(e.what());
  } catch (const Error& e) {
    fail(e.what());
  }
  return target;
}

}  // namespace dfengine::weights
