// dfengine info: what a model file holds, and the plan it runs by.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "apps/dfengine/commands.h"
#include "engine/model/model.h"
#include "engine/plan/dump.h"
#include "engine/runtime/device.h"
#include "engine/train/options.h"
#include "engine/train/schedule.h"
#include "kernels/cpu/isa.h"
#include "kernels/cuda/context.h"
#include "weights/pretrained.h"

namespace dfengine {
namespace {

struct Arguments {
  std::filesystem::path file;
  bool plan = false;
  std::string phase = "infer", format = "text", freeze = "none", device = "cpu";
  std::string precision = "fp16";
  bool deterministic = false;
  Index batch = 1;
};

// Null where a plan's kernels are not timed: on the CPU, without a device, or where that is asked
// for.
std::optional<Device> timing_device(const Arguments& a) {
  if (a.device != "cuda" || a.deterministic || !cuda::available()) return std::nullopt;
  return std::optional<Device>(std::in_place, DeviceConfig{parse_precision(a.precision)});
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
  const bool cuda = a.device == "cuda";
  const DeviceKind device = cuda ? DeviceKind::Cuda : DeviceKind::Cpu;
  const Element element = cuda ? element_of(parse_precision(a.precision)) : Element::F32;
  MobileNetV2Config config = model.config;
  if (a.phase == "infer")
    return Plan::build(make_mobilenet_v2(config, element), std::span(&images, 1),
                       {Phase::Infer, {}, device, tuner});
  config.head = Head::Detector;
  const Spec specs[] = {images, {{a.batch, 1, 1, 1}, Element::F32}};
  const TrainPhase phase{0, parse_freeze(a.freeze), false};
  return Plan::build(make_mobilenet_v2_training(config, element), specs,
                     {Phase::Train, trainable_in(phase), device, tuner});
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
  if (a.format == "dot") {
    fmt::print("{}", dump_dot(plan));
  } else if (a.device == "cuda") {
    fmt::print("{}CUDA, {}; {}\n", dump_text(plan), a.precision, how_chosen(a, device.has_value()));
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
  command->add_option("--phase", a->phase, "Of the plan: infer or train")
      ->check(CLI::IsMember({"infer", "train"}))
      ->capture_default_str()
      ->needs(plan);
  command->add_option("--batch-size", a->batch, "Of the plan: pictures at once")
      ->check(CLI::Range(Index{1}, Index{1} << 16))
      ->capture_default_str()
      ->needs(plan);
  command->add_option("--freeze", a->freeze, "Of a training plan: as train's --freeze")
      ->capture_default_str()
      ->needs(plan);
  command->add_option("--device", a->device, "Of the plan: cpu, or cuda (which need not be here)")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str()
      ->needs(plan);
  command->add_option("--precision", a->precision, "Of a cuda plan: fp16, bf16 or fp32")
      ->check(CLI::IsMember({"fp16", "bf16", "fp32"}))
      ->capture_default_str()
      ->needs(plan);
  command
      ->add_flag("--deterministic", a->deterministic,
                 "Of a cuda plan: kernels by rule, as train's --deterministic; else they are timed "
                 "where there is a device")
      ->needs(plan);
  command->add_option("--format", a->format, "Of the plan: text, or dot for Graphviz")
      ->check(CLI::IsMember({"text", "dot"}))
      ->capture_default_str()
      ->needs(plan);
  command->callback([a] { run_info(*a); });
}

}  // namespace dfengine
