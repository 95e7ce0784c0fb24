#include "engine/runtime/cpu/cpu_backend.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>

#include "engine/runtime/kernels.h"
#include "kernels/base/error.h"
#include "kernels/base/memory.h"
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
void record_as(Index n, ConstPlace logits, ConstPlace targets, ConstPlace loss, StepRecord& to) {
  Index right = 0;
  for (Index i = 0; i < n; ++i) right += (logits.as<T>()[i] >= 0) == (targets.as<T>()[i] > T(0.5));
  to = {static_cast<float>(*loss.as<T>()), static_cast<float>(right)};
}

template <class T>
bool all_finite(const T* values, Index count) {
  for (Index i = 0; i < count; ++i)
    if (!std::isfinite(values[i])) return false;
  return true;
}

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
    throw UsageError("the CPU does not compute in fp16: use --precision fp32 or bf16");
  if (element == Element::BF16) cpu::require_bf16();
  for (int i = 0; i < pool.size(); ++i) alone_.push_back(std::make_unique<ThreadPool>(1));
}

void CpuBackend::side_by_side(Index n, const LaneBody& body) const {
  std::exception_ptr error;
  std::once_flag first;
  parallel_for(pool_, n, [&](std::int64_t i, int worker) {
    try {
      body(i, worker, {.pool = alone_[at(worker)].get()});
    } catch (...) {
      std::call_once(first, [&] { error = std::current_exception(); });
    }
  });
  if (error) std::rethrow_exception(error);
}

Kernel CpuBackend::make(const Node& node, const KernelQuery& query) const {
  Element element = query.in[0].element;
  if (element == Element::U8) element = query.out.element;
  if (element == Element::U8)
    element = parameter_element();  // quantized: parameters become integers
  return with_cpu_element(element, [&](auto t) {
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
  with_element(parameter_element(), [&](auto t) {
    record_as<decltype(t)>(n, logits, targets, loss, records[scalars->position % kStepRecords]);
  });
}

void CpuBackend::record_sums(const double* sums, Index whole, const StepScalars* scalars,
                             StepRecord* records) const {
  records[scalars->position % kStepRecords] = {
      static_cast<float>(sums[0] / static_cast<double>(whole)), static_cast<float>(sums[1])};
}

void CpuBackend::check_finite(ConstPlace values, Index count, StepScalars* scalars) const {
  const bool finite = with_element(
      parameter_element(), [&](auto t) { return all_finite(values.as<decltype(t)>(), count); });
  if (!finite) scalars->overflow = 1;
}

std::function<void()> CpuBackend::make_update(const Update& update) const {
  return [ctx = queue().cpu(), update, element = parameter_element()] {
    with_element(element, [&](auto t) { run<decltype(t)>(ctx, update); });
  };
}

void CpuBackend::add_gradients(Index count, ConstPlace gradients, Place sum) const {
  with_element(parameter_element(), [&](auto t) {
    using T = decltype(t);
    cpu::add_gradients<T>(queue().cpu(), count, gradients.as<T>(), sum.as<T>());
  });
}

void CpuBackend::take_gradients(Index count, const StepInput* input, Place sum,
                                Place gradients) const {
  with_element(parameter_element(), [&](auto t) {
    using T = decltype(t);
    cpu::take_gradients<T>(queue().cpu(), count, input, sum.as<T>(), gradients.as<T>());
  });
}

void CpuBackend::clip_gradients(Index count, double most, const StepScalars* scalars, Place scratch,
                                Place gradients) const {
  with_element(parameter_element(), [&](auto t) {
    using T = decltype(t);
    cpu::clip_gradients<T>(queue().cpu(), count, most, scalars, scratch.as<double>(),
                           gradients.as<T>());
  });
}

void CpuBackend::move_average(Index count, const StepInput* input, const StepScalars* scalars,
                              ConstPlace values, Place average) const {
  with_element(parameter_element(), [&](auto t) {
    using T = decltype(t);
    cpu::move_average<T>(queue().cpu(), count, input, scalars, values.as<T>(), average.as<T>());
  });
}

}  // namespace dfengine
