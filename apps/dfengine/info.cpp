// dfengine info: what a model file holds, and the plan it runs by.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/dfengine/arguments/choice.h"
#include "apps/dfengine/arguments/help.h"
#include "apps/dfengine/arguments/within.h"
#include "apps/dfengine/commands.h"
#include "engine/bench/step_cost.h"
#include "engine/model/model.h"
#include "engine/plan/dump.h"
#include "engine/runtime/open_backend.h"
#include "engine/train/options.h"
#include "engine/train/schedule.h"
#include "kernels/base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/cuda/context.h"
#include "weights/pretrained.h"

namespace dfengine {
namespace {

enum class PlanFormat { Text, Json, Dot };
constexpr auto kFormats = names_for<PlanFormat>(
    "format", {{"text", PlanFormat::Text}, {"json", PlanFormat::Json}, {"dot", PlanFormat::Dot}});
constexpr auto kPhases =
    names_for<Phase>("phase", {{"infer", Phase::Infer}, {"train", Phase::Train}});

struct Arguments {
  std::filesystem::path file;
  bool plan = false;
  Phase phase = Phase::Infer;
  PlanFormat format = PlanFormat::Text;
  std::string freeze = "none";
  bool grad_checkpoint = false;
  DeviceKind device = DeviceKind::Cpu;
  std::optional<Precision> precision;
  bool deterministic = false;
  Index batch = 1;
};

std::string how_chosen(const Arguments& a, bool timed) {
  if (timed) return "kernels timed on " + cuda::device_summary();
  return a.deterministic ? "kernels chosen by rule"
                         : "kernels chosen by rule: there is no device here to time them on";
}

// The plan of one batch, for inference or for a training step with the first blocks frozen.
Plan make_plan(const Model& model, const Arguments& a, const KernelMaker& maker, Element element) {
  Network network = model.network;
  PlanOptions options;
  if (a.phase == Phase::Train) {
    NetworkConfig config = model.config;
    config.head = Head::Detector;
    network = make_network(config);
    network.graph = with_loss(network.graph);
    const int frozen = frozen_blocks(parse_freeze(a.freeze), network);
    options = {.phase = Phase::Train,
               .trainable = network.trainable_above(frozen),
               .grad_checkpoint = a.grad_checkpoint};
  }
  const Graph graph = with_element(network.graph, element);
  std::vector<Spec> specs = {network.image};
  if (a.phase == Phase::Train) specs.push_back({{1, 1, 1, 1}, Element::F32});
  for (Spec& s : specs) s.shape.n = a.batch;
  return Plan::build(graph, specs, options, maker);
}

// A device's kernels, but none that does the work of several layers.
class PlainKernelMaker final : public CudaKernelMaker {
 public:
  bool loads_norms() const override { return false; }
  bool makes_moments(const Convolution&, const Spec&) const override { return false; }
  bool has_block(const InvertedResidual&, const Spec&) const override { return false; }
};

std::string plan_json(const Plan& plan, const Arguments& a, Index plain_bytes) {
  nlohmann::json steps = nlohmann::json::array();
  const std::vector<StepCost> costs = step_costs(plan);
  for (std::size_t i = 0; i < costs.size(); ++i) {
    const Step& step = plan.steps()[i];
    const Node& node = plan.node(step.node);
    const Shape& y = plan.spec(node.output).shape;
    steps.push_back({{"pass", name_of(step.kind)},
                     {"layer", node.name},
                     {"kind", kind(node.operation)},
                     {"kernels", kernels_text(plan, step)},
                     {"output", {y.n, y.h, y.w, y.c}},
                     {"bytes", costs[i].bytes},
                     {"flops", costs[i].flops}});
  }
  const nlohmann::json all = {
      {"phase", kPhases.name_of(a.phase)},    {"batch", a.batch},
      {"arena_bytes", plan.arena_bytes()},    {"prepared_bytes", plan.prepared_bytes()},
      {"bytes_without_fusions", plain_bytes}, {"steps", steps}};
  return all.dump(2) + "\n";
}

// What the plan moves and computes, and what layers as one kernel save.
std::string cost_line(const StepCost& cost, Index plain_bytes) {
  const auto mega = [](Index count) { return static_cast<double>(count) / 1e6; };
  std::string line = fmt::format("moves {:.1f} MB and computes {:.1f} million operations at least",
                                 mega(cost.bytes), mega(cost.flops));
  if (plain_bytes > cost.bytes)
    line += fmt::format("; layers as one kernel save {:.1f} MB", mega(plain_bytes - cost.bytes));
  return line + "\n";
}

// A plan for the CPU or a device, which need not be here: then kernels are chosen by the rule.
std::string plan_text(const Model& model, const Arguments& a) {
  const auto text = [&](const KernelMaker& maker, Element element, const std::string& last_line) {
    const Plan plan = make_plan(model, a, maker, element);
    if (a.format == PlanFormat::Dot) return dump_dot(plan);
    const StepCost cost = total_cost(plan);
    const Index plain = a.device == DeviceKind::Cpu
                            ? cost.bytes
                            : total_cost(make_plan(model, a, PlainKernelMaker(), element)).bytes;
    if (a.format == PlanFormat::Json) return plan_json(plan, a, plain);
    return dump_text(plan, a.device == DeviceKind::Cuda) + cost_line(cost, plain) + last_line +
           "\n";
  };
  if (a.device == DeviceKind::Cpu) {
    ThreadPool pool(1);
    const Element element = element_of(a.precision.value_or(Precision::Fp32));
    return text(CpuBackend(pool, element), element,
                std::string("CPU kernels: ") + cpu::isa_name(cpu::current_isa()));
  }
  const DeviceConfig config{.precision = a.precision.value_or(Precision::Fp16)};
  const bool timed = !a.deterministic && cuda::available();
  std::unique_ptr<KernelMaker> maker;
  if (timed) {
    maker = std::make_unique<CudaBackend>(config);
  } else {
    maker = std::make_unique<CudaKernelMaker>();
  }
  return text(*maker, element_of(config.precision),
              fmt::format("CUDA, {}; ", name_of(config.precision)) + how_chosen(a, timed));
}

void run_info(const Arguments& a) {
  if (a.phase == Phase::Infer && (parse_freeze(a.freeze) != 0 || a.grad_checkpoint))
    throw UsageError("--freeze and --grad-checkpoint are for --phase train");
  const std::filesystem::path path = weights::find_weights(a.file);
  const std::string name = path.string();
  const weights::TensorFile file = read_weights(path);
  const ModelFit fit = fit_model(file, name);
  if (!a.plan) {
    fmt::print(
        "{}\n{}", name,
        fit.complete() ? describe_model(fill_model(fit, file, name)) : describe_misfit(file, fit));
    for (const std::string& remark : fit.remarks) fmt::print("{}\n", remark);
    if (file.metadata.contains("engine_version")) {
      fmt::print("digest: {}\n",
                 file.has_digest ? "the content is what was written"
                                 : "none, as older versions wrote no digest: damage would not be "
                                   "seen; dfengine convert writes the file anew, with one");
    }
    if (!fit.complete())
      throw Exit{ExitCode::BadModel, name + ": does not fit " + fit.network.title};
    return;
  }
  fmt::print("{}", plan_text(fill_model(fit, file, name), a));
}

}  // namespace

void add_info(CLI::App& program) {
  const auto [command, a] = add_command<Arguments>(
      program, "info", "Show what a model or weights file holds, or the plan it runs by.",
      "Prints architecture, parameters and metadata; of a file that does not fit, what is "
      "missing or has another shape. The plan lists every step with its kernel and where each "
      "buffer lies in memory. A plan for a GPU can be made without one: kernels are then "
      "chosen by a rule. The line of the arena says whether a step fits: training MobileNetV2 "
      "1.0 at 224 pixels with --precision fp16 --batch-size 256 takes 3.7 GB, with "
      "--grad-checkpoint 1.7 GB, inference 0.14 GB.",
      run_info);
  command.add_option("FILE", a.file, "Model or weights file, a run's folder, or imagenet.")
      ->required();
  CLI::Option* plan = command.add_flag("--plan", a.plan, "Show the plan: steps and memory.");
  const auto of_plan = [plan](CLI::Option* option) { option->needs(plan)->group("Plan"); };
  of_plan(add_choice(command, "--phase", a.phase, kPhases,
                     "What is planned: inference, or a training step."));
  of_plan(command.add_option("--batch-size", a.batch, "Pictures at once, from 1 to 65536.")
              ->check(within(Index{1}, Index{1} << 16))
              ->capture_default_str());
  of_plan(command
              .add_option("--freeze", a.freeze,
                          "Frozen blocks of a training step: all, none or a number of blocks, "
                          "as train's --freeze.")
              ->capture_default_str());
  of_plan(command.add_flag("--grad-checkpoint", a.grad_checkpoint,
                           "A training step as train --grad-checkpoint runs it."));
  of_plan(
      add_choice(command, "--device", a.device, "What it is planned for. A GPU need not be here."));
  of_plan(add_choice(command, "--precision", a.precision,
                     "How activations and working weights are stored.")
              ->default_str("fp16 with cuda, fp32 on the CPU"));
  of_plan(command.add_flag("--deterministic", a.deterministic,
                           "With cuda: choose kernels by a rule, as train's --deterministic does. "
                           "Else they are timed where there is a GPU."));
  of_plan(
      add_choice(command, "--format", a.format, kFormats,
                 "How it is printed: as text, as json with what each step moves and computes (for "
                 "bench/step_model.py), or as dot for Graphviz."));
}

}  // namespace dfengine
