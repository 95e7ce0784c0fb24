#include "apps/dfengine/arguments/outputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/data/sets/class_names.h"
#include "engine/data/sets/listing.h"
#include "engine/train/run_files.h"
#include "kernels/base/error.h"

namespace dfengine {
namespace {

bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code absent;
  return std::filesystem::equivalent(a, b, absent);
}

void refuse_inputs(const std::filesystem::path& output,
                   const std::vector<std::filesystem::path>& inputs) {
  std::error_code none;
  if (!std::filesystem::exists(output, none)) return;
  for (const std::filesystem::path& input : inputs)
    if (!input.empty() && (is_same_file(output, input) || is_same_file(output, input / kBestModel)))
      throw UsageError(fmt::format("{}: this would replace what {} names: name another output",
                                   output.string(), input.string()));
}

void require_folder(const std::filesystem::path& output) {
  const std::filesystem::path folder = output.has_parent_path() ? output.parent_path() : ".";
  std::error_code none;
  if (!std::filesystem::is_directory(folder, none))
    throw Error(fmt::format("{}: there is no folder {}: make it first, or name another output",
                            output.string(), folder.string()));
  if (std::filesystem::is_directory(output, none))
    throw Error(output.string() + ": Is a directory: name a file in it");
}

}  // namespace

void check_output(const std::filesystem::path& output,
                  const std::vector<std::filesystem::path>& inputs, const std::string& picture) {
  require_folder(output);
  refuse_inputs(output, inputs);
  if (is_file_of_run(output))
    throw UsageError(output.string() +
                     ": a training run keeps a file of this name there: name another output");
  if (has_picture_ending(output) && lower_case(output.extension().string()) != picture)
    throw UsageError(fmt::format(
        "{}: a picture's name, but what is written is {}: name another output (of a pattern such "
        "as *.jpg behind the option the first picture would be it)",
        output.string(), picture.empty() ? "no picture" : "a " + picture));
}

void check_model_output(const std::filesystem::path& output,
                        const std::vector<std::filesystem::path>& inputs) {
  require_ending(output, {".safetensors"});
  check_output(output, inputs);
}

void require_ending(const std::filesystem::path& output, const std::vector<std::string>& endings) {
  if (std::ranges::find(endings, output.extension().string()) == endings.end())
    throw UsageError(
        fmt::format("{}: the name must end in {}", output.string(), fmt::join(endings, " or ")));
}

void refuse_run_folder(const std::filesystem::path& output) {
  if (is_run_folder(output))
    throw UsageError(output.string() +
                     " holds a training run, whose report and charts this would replace: name "
                     "another --output, such as a folder in it");
}

}  // namespace dfengine
