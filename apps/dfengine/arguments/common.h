// What several commands share: the choice of a device, threads, lists of pictures, progress.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/pictures/prepare.h"
#include "engine/data/sets/bad_files.h"
#include "engine/runtime/open_backend.h"

namespace dfengine {

// auto is the GPU if it has passed the self-test on this machine, else the CPU.
enum class DeviceChoice { Auto, Cpu, Cuda };
template <>
inline constexpr auto enum_names<DeviceChoice> = names_for<DeviceChoice>(
    "device",
    {{"auto", DeviceChoice::Auto}, {"cpu", DeviceChoice::Cpu}, {"cuda", DeviceChoice::Cuda}});

// Where to compute.
struct DeviceOptions {
  DeviceChoice device = DeviceChoice::Auto;
  std::optional<Precision> precision;
  bool no_graph = false;
  bool deterministic = false;
  int threads = 0;

  // Returns the options on which the result depends, which are all but --threads.
  std::vector<CLI::Option*> add_to(CLI::App& command);
  // Makes cpu or cuda of auto, and says so where a GPU is not used; for a quantized model, which
  // only the CPU computes, it is cpu. Throws DeviceError where `device` cannot be had.
  void resolve(bool quantized = false);
  // For commands that know no other: throws DeviceError for a device other than the CPU.
  void require_cpu() const;
  // And UsageError for a precision other than fp32 there.
  void require_float_cpu() const;
  int thread_count() const;
  // Before resolve() auto is the CPU.
  DeviceKind kind() const {
    return device == DeviceChoice::Cuda ? DeviceKind::Cuda : DeviceKind::Cpu;
  }
  DeviceConfig config() const {
    return {.precision = resolved_precision(), .graphs = !no_graph, .deterministic = deterministic};
  }
  // What results are computed in: fp16 on a GPU and fp32 on the CPU unless asked otherwise. Throws
  // UsageError for fp16 on the CPU.
  Precision resolved_precision() const;
  // What was asked for; pool must outlive it.
  std::unique_ptr<Backend> open(ThreadPool& pool) const;
};

// Lists files as they are given and, of folders, the pictures inside at any depth, sorted; what is
// passed over there (listing.h) is said on standard error. A path
// that does not exist stays in the list, so that reading it reports it. Throws DataError when the
// list is empty or a folder cannot be listed.
std::vector<std::filesystem::path> list_pictures(const std::vector<std::filesystem::path>& paths);

// At most so many of the list, evenly spaced: all folders have their share.
std::vector<std::filesystem::path> evenly_spaced(const std::vector<std::filesystem::path>& pictures,
                                                 std::size_t most);

// From now on the first Ctrl-C (SIGINT), SIGTERM or SIGHUP sets the flag, and a second one ends the
// program at once. Files on disk are whole at any moment, so that this does no harm. Under nohup
// SIGHUP does nothing.
const std::atomic<bool>& catch_interrupt();

// --threads; 0: all this process may use.
CLI::Option* add_threads(CLI::App& command, int& threads);

// --no-progress.
void add_no_progress(CLI::App& command, bool& no_progress);

// --tta.
CLI::Option* add_tta(CLI::App& command, Views& views);

// --threshold, which takes the place of the model's own.
CLI::Option* add_threshold(CLI::App& command, std::optional<double>& threshold);

// A picture that could not be used.
struct BadPicture {
  std::size_t place;  // in the list
  std::string reason;
};

// Prepares the pictures batch by batch and hands each batch [n, views, size, size, 3] to `use`,
// with the positions in `paths` of the pictures in it. Returns those that could not be read. Where
// *stop becomes true, what is prepared is handed on and the rest is left.
std::vector<BadPicture> for_each_batch(
    const std::vector<std::filesystem::path>& paths, const Preparation& how,
    const std::function<void(const std::uint8_t* pixels, const std::vector<std::size_t>& which)>&
        use,
    Views views = Views::One, const std::atomic<bool>* stop = nullptr);

// Prints each error. If there is one, the command then ends with the exit code for bad data, with a
// message such as "2 of 9 pictures could not be read".
void end_if_unreadable(const std::vector<std::string>& errors, std::size_t total,
                       const char* what = "pictures could not be read");
// The same of the pictures of a data set.
void end_if_unreadable(const BadFiles& bad_files, std::size_t total);

// A line that is drawn over itself on a terminal, cut to the terminal's width. It does nothing
// elsewhere, and a terminal that is gone does not end the work.
class ProgressLine {
 public:
  explicit ProgressLine(bool wanted);
  ~ProgressLine() { clear(); }
  bool on_terminal() const { return on_terminal_; }
  void show(const std::string& text);
  // How many of all are done, as a bar and in figures.
  void show(const std::string& what, Index done, Index total);
  void clear();

 private:
  bool on_terminal_;
  bool shown_ = false;
};

// Text such as "[=====     ]" for a share from 0 to 1.
std::string bar(double share);
// Text such as "1:23:45" or "2:05".
std::string clock_text(double seconds);

// The command line of this process as a shell would take it again, or "" where the system does not
// say.
std::string command_line();

}  // namespace dfengine
