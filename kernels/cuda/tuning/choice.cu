#include "kernels/cuda/tuning/choice.h"

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

ChoicePtr choose_by_rule(const std::vector<Candidate>& own, std::vector<std::string> left_out) {
  return std::make_shared<Choice>(Choice{own[0], false, 0, own[0].name, 0, std::move(left_out)});
}

}  // namespace dfengine::cuda
