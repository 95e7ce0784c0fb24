// What a command is about to write, looked at before its work.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace dfengine {

// Throws UsageError where a file of this name would replace one of `inputs` (of a run's folder its
// model), what a training run keeps, or a picture: a pattern of the shell may have made one the
// output. Where pictures are what is written, `picture` is their ending. Throws Error where the
// file's folder is not there.
void check_output(const std::filesystem::path& output,
                  const std::vector<std::filesystem::path>& inputs,
                  const std::string& picture = "");

// The same for a model file, whose name ends in .safetensors.
void check_model_output(const std::filesystem::path& output,
                        const std::vector<std::filesystem::path>& inputs);

// Throws UsageError unless the name has one of these endings.
void require_ending(const std::filesystem::path& output, const std::vector<std::string>& endings);

// Throws UsageError for the folder of a training run, which has a report and charts of its own.
void refuse_run_folder(const std::filesystem::path& output);

}  // namespace dfengine
