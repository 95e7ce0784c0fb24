#include "apps/dfengine/arguments/common.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/clean_output.h"
#include "apps/dfengine/commands.h"
#include "engine/data/sets/listing.h"
#include "engine/selftest/verdict.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "kernels/cuda/context.h"

namespace dfengine {

// No machine has so many processors, and the memory that threads take is no batch's.
constexpr int kMostThreads = 4096;

CLI::Option* add_threads(CLI::App& command, int& threads) {
  return command
      .add_option("--threads", threads,
                  "CPU threads, from 0 to 4096. 0 means all that this process may use. The result "
                  "is the same for any number.")
      ->check(within(0, kMostThreads))
      ->capture_default_str();
}

std::vector<CLI::Option*> DeviceOptions::add_to(CLI::App& command) {
  add_threads(command, threads);
  return {
      add_choice(
          command, "--device", device,
          "Where to compute: cpu; cuda, which needs a build with --preset cuda and an NVIDIA "
          "GPU (it has passed on an H100 and an H200); or auto, which is the GPU if it passes a "
          "self-test of a second or two, once for each device, driver and program, and else the "
          "CPU, which alone computes quantized models."),
      add_choice(command, "--precision", precision,
                 "How activations and the weights that convolutions read are stored: fp16, bf16 or "
                 "fp32 with cuda; fp32, or bf16 where it has AVX512-BF16, on the CPU. Sums, "
                 "statistics, head, loss, master weights and moments are always float.")
          ->default_str("fp16 with cuda, fp32 on the CPU"),
      command.add_flag("--no-graph", no_graph,
                       "With cuda: launch kernel by kernel instead of replaying one captured "
                       "graph."),
      command.add_flag("--deterministic", deterministic,
                       "With cuda: choose kernels by a rule instead of timing them when a plan is "
                       "built, so that every run gives the same bits.")};
}

void DeviceOptions::resolve(bool quantized) {
  if (device == DeviceChoice::Cuda) cuda::require_device();
  if (device == DeviceChoice::Auto && quantized) device = DeviceChoice::Cpu;
  if (device != DeviceChoice::Auto) return;
  ThreadPool pool(thread_count());
  const DeviceKind kind =
      choose_device(precision.value_or(Precision::Fp16), pool,
                    [](const std::string& line) { fmt::print(stderr, "dfengine: {}\n", line); });
  device = kind == DeviceKind::Cuda ? DeviceChoice::Cuda : DeviceChoice::Cpu;
}

void DeviceOptions::require_cpu() const {
  if (kind() == DeviceKind::Cuda)
    throw DeviceError("this command computes on the CPU: use --device cpu");
}

void DeviceOptions::require_float_cpu() const {
  require_cpu();
  if (precision.value_or(Precision::Fp32) != Precision::Fp32)
    throw UsageError(
        fmt::format("on the CPU this command computes in fp32: --precision {} is for "
                    "other commands or a GPU",
                    name_of(*precision)));
}

Precision DeviceOptions::resolved_precision() const {
  if (kind() == DeviceKind::Cuda) return precision.value_or(Precision::Fp16);
  if (precision == Precision::Fp16)
    throw UsageError("the CPU does not compute in fp16: use --precision fp32 or bf16");
  return precision.value_or(Precision::Fp32);
}

std::unique_ptr<Backend> DeviceOptions::open(ThreadPool& pool) const {
  return open_backend(kind(), config(), pool);
}

int DeviceOptions::thread_count() const {
  return ThreadPool::count_for(threads);
}

std::vector<std::filesystem::path> evenly_spaced(const std::vector<std::filesystem::path>& pictures,
                                                 std::size_t most) {
  const std::size_t count = std::min(pictures.size(), most);
  std::vector<std::filesystem::path> some;
  for (std::size_t i = 0; i < count; ++i) some.push_back(pictures[i * pictures.size() / count]);
  return some;
}

const std::atomic<bool>& catch_interrupt() {
  static std::atomic<bool> interrupted{false};
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const auto before = std::signal(signal, [](int received) {
      interrupted = true;
      std::signal(received, SIG_DFL);
    });
    if (signal == SIGHUP && before == SIG_IGN) std::signal(signal, SIG_IGN);
  }
  return interrupted;
}

CLI::Option* add_tta(CLI::App& command, Views& views) {
  return add_choice(
      command, "--tta", views,
      "Test-time augmentation: the mean logit of several views. flip takes the picture and "
      "its mirror image; crops takes the four corners and the middle of a picture 256/224 "
      "as large, and their mirror images.");
}

CLI::Option* add_threshold(CLI::App& command, std::optional<double>& threshold) {
  return command
      .add_option("--threshold", threshold,
                  "Call a picture fake from this probability on, from 0 to 1.")
      ->check(within(0.0, 1.0))
      ->default_str("the model's own");
}

void add_no_progress(CLI::App& command, bool& no_progress) {
  command.add_flag("--no-progress", no_progress, "Draw no progress line.");
}

std::vector<std::filesystem::path> list_pictures(const std::vector<std::filesystem::path>& paths) {
  std::vector<std::filesystem::path> pictures;
  PassedOver passed_over;
  for (const std::filesystem::path& path : paths) {
    std::error_code unreadable;
    if (!std::filesystem::is_directory(path, unreadable)) {
      pictures.push_back(path);
      continue;
    }
    FolderWalk walk(path);
    while (std::optional<std::filesystem::path> picture = walk.next(passed_over))
      pictures.push_back(std::move(*picture));
  }
  const std::string others = describe(passed_over);
  if (pictures.empty())
    throw DataError("no pictures (JPEG, PNG, WebP, BMP) in the paths given" +
                    (others.empty() ? "" : "; " + others));
  if (!others.empty()) fmt::print(stderr, "dfengine: {}\n", others);
  return pictures;
}

std::vector<BadPicture> for_each_batch(
    const std::vector<std::filesystem::path>& paths, const Preparation& how,
    const std::function<void(const std::uint8_t*, const std::vector<std::size_t>&)>& use,
    Views views, const std::atomic<bool>* stop) {
  constexpr std::size_t kBatch = 32;
  const auto bytes = static_cast<std::size_t>(view_count(views) * how.size * how.size * 3);
  std::vector<std::uint8_t> pixels(kBatch * bytes);
  std::vector<std::size_t> which;
  std::vector<BadPicture> bad;
  Preparer preparer(how);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    try {
      preparer.prepare(paths[i], pixels.data() + which.size() * bytes, views);
      which.push_back(i);
    } catch (const DataError& e) {
      bad.push_back({i, e.what()});
    }
    const bool last = i + 1 == paths.size() || (stop != nullptr && *stop);
    if (which.size() == kBatch || (last && !which.empty())) {
      use(pixels.data(), which);
      which.clear();
    }
    if (last) break;
  }
  return bad;
}

void end_if_unreadable(const std::vector<std::string>& errors, std::size_t total,
                       const char* what) {
  std::fflush(stdout);
  for (const std::string& error : errors) fmt::print(stderr, "dfengine: {}\n", error);
  if (!errors.empty())
    throw Exit{ExitCode::BadData, fmt::format("{} of {} {}", errors.size(), total, what)};
}

void end_if_unreadable(const BadFiles& bad_files, std::size_t total) {
  std::vector<std::string> errors;
  for (const BadFile& bad : bad_files.list()) errors.push_back(bad.relative + ": " + bad.reason);
  end_if_unreadable(errors, total);
}

ProgressLine::ProgressLine(bool wanted) : on_terminal_(wanted && isatty(STDERR_FILENO) == 1) {}

namespace {

// At least 1. It may change while the program runs.
std::size_t terminal_columns() {
  constexpr std::size_t kUsual = 80;
  winsize size = {};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kUsual;
}

}  // namespace

void ProgressLine::show(const std::string& text) {
  if (!on_terminal_) return;
  const std::string clean = visible(text);
  std::size_t shown =
      std::min(clean.size(), terminal_columns() - 1);  // a full line begins a new one
  const auto inside_character = [&] {
    return shown < clean.size() && (clean[shown] & 0xC0) == 0x80;
  };
  while (inside_character()) --shown;  // of UTF-8
  command_terminal("\r\x1b[K" + clean.substr(0, shown));
  shown_ = true;
}

void ProgressLine::show(const std::string& what, Index done, Index total) {
  const double share = static_cast<double>(done) / static_cast<double>(total);
  show(fmt::format("{}{} {}/{}", what, bar(share), done, total));
}

void ProgressLine::clear() {
  if (!shown_) return;
  command_terminal("\r\x1b[K");
  shown_ = false;
}

std::string bar(double share) {
  constexpr int kWidth = 20;
  const int filled = std::clamp(static_cast<int>(share * kWidth), 0, kWidth);
  return "[" + std::string(static_cast<std::size_t>(filled), '=') +
         std::string(static_cast<std::size_t>(kWidth - filled), ' ') + "]";
}

std::string clock_text(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string command_line() {
  std::ifstream stream("/proc/self/cmdline", std::ios::binary);
  std::string line;
  for (std::string word; std::getline(stream, word, '\0');) {
    constexpr std::string_view kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+";
    std::string quoted = word;
    if (word.empty() || word.find_first_not_of(kPlain) != word.npos) {
      quoted = "'";
      for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
      quoted += "'";
    }
    line += (line.empty() ? "" : " ") + quoted;
  }
  return line;
}

}  // namespace dfengine
