// Which device computes where nobody names one: the GPU if it has passed the self-test on this
// machine.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "engine/runtime/open_backend.h"

namespace dfengine {

// What was found out about a device: "" where it computes what it should, else what is wrong.
using Verdict = std::string;

// The verdict on `subject`, which names all that it depends on, as a file of the folder has it.
// Where there is none test() gives it, and the file keeps it; a subject whose test ended the
// process has failed. folder, or subject, may be absent: nothing is kept.
Verdict kept_verdict(const std::optional<std::filesystem::path>& folder,
                     const std::optional<std::string>& subject,
                     const std::function<Verdict()>& test);
// Keeps a verdict that was found out otherwise. Where the folder cannot be written it is not kept.
void keep_verdict(const std::optional<std::filesystem::path>& folder,
                  const std::optional<std::string>& subject, const Verdict& verdict);

// Where verdicts on this machine's devices lie.
std::optional<std::filesystem::path> verdict_folder();
// The current GPU at this precision: device, driver, libraries and program; nothing where the
// program cannot be told from another one. Throws DeviceError where no GPU answers.
std::optional<std::string> verdict_subject(Precision precision);
// The short self-test of the current GPU.
Verdict tested_verdict(Precision precision, ThreadPool& pool);

// The GPU where its verdict is good; else the CPU, and tell is given a line for the person.
DeviceKind device_by(const Verdict& verdict, const std::function<void(const std::string&)>& tell);
// The GPU where one answers and its verdict, found out now if it is the first time, is good; else
// the CPU.
DeviceKind choose_device(Precision precision, ThreadPool& pool,
                         const std::function<void(const std::string&)>& tell);

}  // namespace dfengine
