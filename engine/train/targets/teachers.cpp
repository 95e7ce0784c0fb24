#include "engine/train/targets/teachers.h"

#include <fmt/format.h>

#include "kernels/base/error.h"
#include "kernels/base/sha256.h"
#include "weights/pretrained.h"
#include "weights/read_file.h"

namespace dfengine {
namespace {

constexpr const char* kNote = "teacher_sha256";

}  // namespace

Teachers::Teachers(const TrainOptions& options, Model& student, const Backend& backend)
    : temperature_(options.teacher_temperature) {
  std::string digests;
  for (const std::string& name : options.teachers) {
    auto teacher = std::make_unique<Teacher>(Teacher{load_detector(name), nullptr});
    const NetworkConfig& config = teacher->model.config;
    if (config.input_size != options.img_size)
      throw UsageError(fmt::format("--teacher {}: takes {} x {} pixels, and training makes {} x {}",
                                   name, config.input_size, config.input_size, options.img_size,
                                   options.img_size));
    teacher->predictor =
        std::make_unique<Predictor>(teacher->model, backend, Predictor::Output::Logits);
    digests +=
        (digests.empty() ? "" : ",") + sha256_hex(weights::read_file(weights::find_weights(name)));
    teachers_.push_back(std::move(teacher));
  }
  if (teachers_.empty()) return;
  const auto [note, is_new] = student.notes.try_emplace(kNote, digests);
  if (!is_new && note->second != digests)
    throw DataError("--teacher: not the models that the run began with; start a new run");
}

void Teachers::answer(const std::uint8_t* images, std::vector<float>& targets) {
  std::vector<double> sum(targets.size(), 0.0);
  logits_.resize(targets.size());
  for (const auto& teacher : teachers_) {
    teacher->predictor->run(images, std::ssize(targets), logits_.data());
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += sigmoid(double{logits_[i]} / temperature_);
  }
  for (std::size_t i = 0; i < sum.size(); ++i)
    targets[i] = static_cast<float>(sum[i] / static_cast<double>(teachers_.size()));
}

Index Teachers::bytes() const {
  Index all = 0;
  for (const auto& teacher : teachers_)
    all += teacher->model.parameters.bytes() + teacher->predictor->bytes();
  return all;
}

}  // namespace dfengine
