#include "engine/runtime/cpu/cpu_backend.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "engine/runtime/kernels.h"
#include "kernels/base/error.h"
#include "kernels/base/memory.h"
#include "kernels/bce_loss.h"
#include "kernels/cpu/isa.h"
#include "kernels/gradients.h"
#include "kernels/moving_average.h"

namespace dfengine {
namespace {

class CpuFeed final : public Feed {
 public:
  void put(std::span<const Part> parts) override {
    for (const Part& part : parts)
      std::memcpy(part.to, part.host, static_cast<std::size_t>(part.bytes));
  }
  Index bytes() const override { return 0; }
};

template <class T>
void run(const cpu::Context& ctx, const Update& u) {
  if (u.scalars->overflow != 0) return;
  AdamProblem problem = u.adam;
  problem.step = static_cast<std::int64_t>(u.scalars->step) + 1;
  for (const UpdateRange& range : u.ranges) {
    T* values = u.values.as<T>() + range.offset;
    if (range.commit) {
      std::memcpy(values, u.next.as<T>() + range.offset - u.statistics,
                  static_cast<std::size_t>(range.count) * sizeof(T));
      continue;
    }
    problem.weight_decay = range.weight_decay;
    problem.lr = u.input->learning_rate * range.rate;
    cpu::adam_update<T>(ctx, problem, range.count, u.gradients.as<T>() + range.offset, values,
                        u.first_moment.as<T>() + range.offset,
                        u.second_moment.as<T>() + range.offset);
  }
}

}  // namespace

CpuBackend::CpuBackend(ThreadPool& pool, Element element) : pool_(pool), element_(element) {
  if (element == Element::F16)
    throw UsageError("the CPU does not compute in fp16: use precision fp32 or bf16");
  if (element == Element::BF16) cpu::require_bf16();
  for (int i = 0; i < pool.size(); ++i) alone_.push_back(std::make_unique<ThreadPool>(1));
}

void CpuBackend::side_by_side(Index n, const LaneBody& body) const {
  parallel_for(pool_, n, [&](std::int64_t i, int worker) {
    body(i, worker, {.pool = alone_[at(worker)].get()});
  });
}

Kernel CpuBackend::make(const Node& node, const KernelQuery& query) const {
  Element element = query.in[0].element;
  if (element == Element::U8) element = query.out.element;
  if (element == Element::U8)
    element = parameter_element();  // quantized: parameters become integers
  return with_cpu_type(element, [&](auto t) {
    return std::visit(Kernels<OnCpu<decltype(t)>>{node, query}, node.operation);
  });
}

OwnedMemory CpuBackend::allocate(Index bytes) const {
  auto memory = std::make_shared<Memory>(bytes);
  return OwnedMemory(memory, memory->data());
}

void CpuBackend::copy(void* to, const void* from, Index bytes) const {
  if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

std::unique_ptr<Feed> CpuBackend::make_feed(Index) const {
  return std::make_unique<CpuFeed>();
}

double CpuBackend::milliseconds(const std::function<void()>& body) const {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

void CpuBackend::record(Index n, ConstPlace logits, ConstPlace targets, ConstPlace loss,
                        const StepScalars* scalars, StepRecord* records) const {
  const Index right = cpu::count_right(n, logits.as<float>(), targets.as<float>());
  records[scalars->position % kStepRecords] = {*loss.as<float>(), static_cast<float>(right)};
}

void CpuBackend::record_sums(const double* sums, Index whole, const StepScalars* scalars,
                             StepRecord* records) const {
  records[scalars->position % kStepRecords] = {
      static_cast<float>(sums[0] / static_cast<double>(whole)), static_cast<float>(sums[1])};
}

void CpuBackend::check_finite(ConstPlace values, Index count, StepScalars* scalars) const {
  const std::span all(values.as<float>(), at(count));
  if (!std::ranges::all_of(all, [](float v) { return std::isfinite(v); })) scalars->overflow = 1;
}

std::function<void()> CpuBackend::make_update(const Update& update) const {
  return [ctx = queue().cpu(), update, element = parameter_element()] {
    with_parameter_type(element, [&](auto t) { run<decltype(t)>(ctx, update); });
  };
}

void CpuBackend::add_gradients(Index count, ConstPlace gradients, Place sum) const {
  cpu::add_gradients(queue().cpu(), count, gradients.as<float>(), sum.as<float>());
}

void CpuBackend::take_gradients(Index count, const StepInput* input, Place sum,
                                Place gradients) const {
  cpu::take_gradients(queue().cpu(), count, input, sum.as<float>(), gradients.as<float>());
}

void CpuBackend::clip_gradients(Index count, double most, const StepScalars* scalars, Place scratch,
                                Place gradients) const {
  cpu::clip_gradients(queue().cpu(), count, most, scalars, scratch.as<double>(),
                      gradients.as<float>());
}

void CpuBackend::move_average(Index count, const StepInput* input, const StepScalars* scalars,
                              ConstPlace values, Place average) const {
  cpu::move_average(queue().cpu(), count, input, scalars, values.as<float>(), average.as<float>());
}

}  // namespace dfengine
