#include "kernels/cuda/tuning/choice.h"

#include <cstdio>

namespace dfengine::cuda {

const char* name_of(StorageType type) {
  switch (type) {
    case StorageType::F16:
      return "fp16";
    case StorageType::BF16:
      return "bf16";
    case StorageType::F32:
      break;
  }
  return "fp32";
}

std::string EpilogueForm::name() const {
  std::string name = bias ? "+bias" : "";
  if (activation == Activation::Relu) name += "+relu";
  if (activation == Activation::Relu6) name += "+relu6";
  return residual ? name + "+add" : name;
}

std::string describe(const Choice& choice) {
  if (!choice.timed) return choice.name == "own" ? choice.name : choice.name + ", by rule";
  const auto time = [](double us) {
    char text[32];
    std::snprintf(text, sizeof text, ", %.1f us", us);
    return std::string(text);
  };
  const std::string text = choice.name + time(choice.us);
  if (choice.rule == choice.name) return text;
  return text + " (rule: " + choice.rule + time(choice.rule_us) + ")";
}

}  // namespace dfengine::cuda
