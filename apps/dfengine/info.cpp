// dfengine info: what a model file holds, and the plan it runs by.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "apps/dfengine/choice.h"
#include "apps/dfengine/commands.h"
#include "engine/model/model.h"
#include "engine/plan/dump.h"
#include "engine/runtime/device_names.h"
#include "engine/train/options.h"
#include "engine/train/schedule.h"
#include "kernels/cpu/isa.h"
#include "kernels/cuda/context.h"
#include "weights/pretrained.h"

namespace dfengine {
namespace {

enum class PlanFormat { Text, Dot };
constexpr auto kFormats =
    names_for<PlanFormat>("format", {{"text", PlanFormat::Text}, {"dot", PlanFormat::Dot}});
constexpr auto kPhases =
    names_for<Phase>("phase", {{"infer", Phase::Infer}, {"train", Phase::Train}});

struct Arguments {
  std::filesystem::path file;
  bool plan = false;
  Phase phase = Phase::Infer;
  PlanFormat format = PlanFormat::Text;
  std::string freeze = "none";
  DeviceKind device = DeviceKind::Cpu;
  Precision precision = Precision::Fp16;
  bool deterministic = false;
  Index batch = 1;
};

// Null where a plan's kernels are not timed: on the CPU, without a device, or where that is asked
// for.
std::optional<Device> timing_device(const Arguments& a) {
  if (a.device == DeviceKind::Cpu || a.deterministic || !cuda::available()) return std::nullopt;
  return std::optional<Device>(std::in_place, DeviceConfig{.precision = a.precision});
}

std::string how_chosen(const Arguments& a, bool timed) {
  if (timed) return "kernels timed on " + cuda::device_summary();
  return a.deterministic ? "kernels chosen by rule"
                         : "kernels chosen by rule: there is no device here to time them on";
}

// The plan of one batch, for inference or for a training step with the first blocks frozen.
Plan make_plan(const Model& model, const Arguments& a, cuda::Tuner* tuner) {
  const Index size = model.config.input_size;
  const Spec images{{a.batch, size, size, 3}, Element::U8};
  const Element element = a.device == DeviceKind::Cuda ? element_of(a.precision) : Element::F32;
  MobileNetV2Config config = model.config;
  if (a.phase == Phase::Infer)
    return Plan::build(make_mobilenet_v2(config, element), std::span(&images, 1),
                       {Phase::Infer, {}, a.device, tuner});
  config.head = Head::Detector;
  const Spec specs[] = {images, {{a.batch, 1, 1, 1}, Element::F32}};
  const TrainPhase phase{0, parse_freeze(a.freeze), false};
  return Plan::build(make_mobilenet_v2_training(config, element), specs,
                     {Phase::Train, trainable_in(phase), a.device, tuner});
}

void run_info(const Arguments& a) {
  const std::filesystem::path path = weights::find_weights(a.file);
  const std::string name = path.string();
  const weights::TensorFile file = read_weights(path);
  const ModelFit fit = fit_model(file, name);
  if (!a.plan) {
    fmt::print(
        "{}\n{}", name,
        fit.complete() ? describe_model(fill_model(fit, file, name)) : describe_misfit(file, fit));
    if (!fit.complete()) throw Exit{ExitCode::BadModel, name + ": does not fit MobileNetV2"};
    return;
  }
  const Model model = fill_model(fit, file, name);
  const std::optional<Device> device = timing_device(a);
  const Plan plan = make_plan(model, a, device ? device->tuner() : nullptr);
  if (a.format == PlanFormat::Dot) {
    fmt::print("{}", dump_dot(plan));
  } else if (a.device == DeviceKind::Cuda) {
    fmt::print("{}CUDA, {}; {}\n", dump_text(plan), name_of(a.precision),
               how_chosen(a, device.has_value()));
  } else {
    fmt::print("{}float kernels: {}\n", dump_text(plan), cpu::isa_name(cpu::current_isa()));
  }
}

}  // namespace

void add_info(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      program.add_subcommand("info", "Architecture, parameters and metadata of a model file");
  command->add_option("FILE", a->file, "Model or weights file, or imagenet")->required();
  CLI::Option* plan = command->add_flag("--plan", a->plan, "The plan instead: steps and memory");
  add_choice(*command, "--phase", a->phase, kPhases, "Of the plan: infer or train")->needs(plan);
  command->add_option("--batch-size", a->batch, "Of the plan: pictures at once")
      ->check(CLI::Range(Index{1}, Index{1} << 16))
      ->capture_default_str()
      ->needs(plan);
  command->add_option("--freeze", a->freeze, "Of a training plan: as train's --freeze")
      ->capture_default_str()
      ->needs(plan);
  add_choice(*command, "--device", a->device, "Of the plan: cpu, or cuda (which need not be here)")
      ->needs(plan);
  add_choice(*command, "--precision", a->precision, "Of a cuda plan: fp16, bf16 or fp32")
      ->needs(plan);
  command
      ->add_flag("--deterministic", a->deterministic,
                 "Of a cuda plan: kernels by rule, as train's --deterministic; else they are timed "
                 "where there is a device")
      ->needs(plan);
  add_choice(*command, "--format", a->format, kFormats, "Of the plan: text, or dot for Graphviz")
      ->needs(plan);
  command->callback([a] { run_info(*a); });
}

}  // namespace dfengine
