#include "engine/runtime/cuda/cuda_backend.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "engine/runtime/cuda/input_slots.h"
#include "engine/runtime/kernels.h"
#include "engine/runtime/node_timing.h"
#include "engine/runtime/program_id.h"
#include "kernels/base/cache_folder.h"
#include "kernels/base/error.h"
#include "kernels/cuda/context.h"
#include "kernels/gradients.h"
#include "kernels/moving_average.h"

namespace dfengine {
namespace {

Kernel kernel_of(const Node& node, const KernelQuery& query, cuda::Tuner* tuner) {
  Element element = query.in[0].element;
  if (element == Element::U8) element = query.out.element;
  if (element == Element::U8)
    element = Element::F32;  // quantized: its kernel says that there is none
  return with_device_type(element, [&](auto t) {
    return std::visit(Kernels<OnCuda<decltype(t)>>{node, query, tuner}, node.operation);
  });
}

// What an update launches with; the table of chunks lies on the device.
struct BoundUpdate {
  Update update;
  OwnedMemory chunks;
  Index chunk_count = 0;
};

std::vector<cuda::AdamChunk> chunks_of(const std::vector<UpdateRange>& ranges) {
  std::vector<cuda::AdamChunk> chunks;
  for (const UpdateRange& range : ranges)
    for (Index first = 0; first < range.count; first += cuda::kAdamChunk)
      chunks.push_back(
          {.offset = range.offset + first,
           .count = static_cast<std::int32_t>(std::min(cuda::kAdamChunk, range.count - first)),
           .weight_decay = static_cast<float>(range.weight_decay),
           .commit = range.commit,
           .rate = static_cast<float>(range.rate)});
  return chunks;
}

}  // namespace

Element element_of(Precision precision) {
  constexpr std::array kElements = {Element::F16, Element::BF16, Element::F32};
  return kElements[static_cast<std::size_t>(precision)];
}

cuda::DenyList denied_kernels() {
  const auto cache = cache_folder();
  if (!cache) return {};
  return {*cache / "denied", [] { return cuda::device_identity() + ", " + program_id(); }};
}

Kernel CudaKernelMaker::make(const Node& node, const KernelQuery& query) const {
  return kernel_of(node, query, tuner_);
}

CudaBackend::CudaBackend(const DeviceConfig& config, int number) : config_(config) {
  if (number > 0) cuda::use_device(number);
  if (!cuda::is_emulated()) cuda::require_device();
  device_ = cuda::current_device();
  compute_ = cuda::make_stream();
  copy_ = cuda::make_stream();
  // The stand-in's times would say nothing about a device.
  if (!config.deterministic && !cuda::is_emulated())
    tuner_ = std::make_unique<cuda::Tuner>(cuda::device_timing(compute_.get()), denied_kernels());
}

CudaBackend::~CudaBackend() = default;

Kernel CudaBackend::make(const Node& node, const KernelQuery& query) const {
  return kernel_of(node, query, tuner_.get());
}

std::optional<double> CudaBackend::microseconds(const Node& node, const KernelQuery& query) const {
  if (tuner_ == nullptr) return std::nullopt;
  std::string key = dfengine::kind(node.operation) + (query.backward ? " with backward" : "") +
                    (query.ends_backward ? " that ends" : "");
  for (const Spec& in : query.in) key += " " + to_string(in.shape);
  key += " to " + to_string(query.out.shape);
  if (query.moments > 0) key += " given " + std::to_string(query.moments);
  if (query.gradient_sums > 0) key += " gradient given " + std::to_string(query.gradient_sums);
  for (const ParamSpec& p : params(node.operation, node.name))
    key += " " + std::to_string(p.count());
  const auto known = node_times_.find(key);
  if (known != node_times_.end()) return known->second;
  // What it has no room to time is planned by rule.
  return node_times_[key] = time_node(*this, node, query);
}

void CudaBackend::on_this_thread(const std::function<void()>& body) const {
  const cuda::OnDevice here(device_);
  body();
}

Index CudaBackend::inference_batch(Index n) const {
  constexpr Index kLargest = 256;
  return static_cast<Index>(std::bit_ceil(static_cast<std::uint64_t>(std::min(n, kLargest))));
}

OwnedMemory CudaBackend::allocate(Index bytes) const {
  auto memory = std::make_shared<cuda::DeviceMemory>(cuda::allocate_device(bytes));
  return OwnedMemory(memory, static_cast<std::byte*>(memory->get()));
}

void CudaBackend::upload(void* to, const void* from, Index bytes) const {
  if (bytes > 0) cuda::upload(compute(), to, from, bytes);
}

void CudaBackend::download(void* to, const void* from, Index bytes) const {
  if (bytes > 0) cuda::download(compute(), to, from, bytes);
}

void CudaBackend::copy(void* to, const void* from, Index bytes) const {
  if (bytes > 0) cuda::copy_on_device(compute(), to, from, bytes);
}

void CudaBackend::synchronize() const {
  cuda::synchronize(compute());
}

std::unique_ptr<Feed> CudaBackend::make_feed(Index bytes) const {
  return std::make_unique<InputSlots>(compute_.get(), copy_.get(), bytes);
}

std::function<void()> CudaBackend::capture(std::function<void()> body) const {
  if (!config_.graphs) return body;
  const auto graph = std::make_shared<cuda::OwnedGraph>(cuda::capture(compute_.get(), body));
  return [graph, stream = compute_.get()] { cuda::run(*graph, stream); };
}

double CudaBackend::milliseconds(const std::function<void()>& body) const {
  const cuda::OwnedEvent begin = cuda::make_event(), end = cuda::make_event();
  cuda::record(begin, compute_.get());
  body();
  cuda::record(end, compute_.get());
  cuda::synchronize(end);
  return static_cast<double>(cuda::elapsed_ms(begin, end));
}

void CudaBackend::record(Index n, ConstPlace logits, ConstPlace targets, ConstPlace loss,
                         const StepScalars* scalars, StepRecord* records) const {
  cuda::record_step(compute_.get(), n, logits.as<float>(), targets.as<float>(), loss.as<float>(),
                    scalars, records);
}

void CudaBackend::record_sums(const double* sums, Index whole, const StepScalars* scalars,
                              StepRecord* records) const {
  cuda::record_sums(compute_.get(), sums, whole, scalars, records);
}

void CudaBackend::check_finite(ConstPlace values, Index count, StepScalars* scalars) const {
  cuda::check_finite(compute_.get(), count, values.as<float>(), scalars);
}

std::function<void()> CudaBackend::make_update(const Update& update) const {
  const std::vector<cuda::AdamChunk> chunks = chunks_of(update.ranges);
  const auto bytes = static_cast<Index>(chunks.size() * sizeof(cuda::AdamChunk));
  const BoundUpdate bound{update, allocate(bytes), std::ssize(chunks)};
  upload(bound.chunks.get(), chunks.data(), bytes);
  synchronize();
  return [bound, stream = compute_.get(), element = element()] {
    with_device_type(element, [&](auto t) {
      const Update& u = bound.update;
      cuda::adam_update(stream, u.adam, u.scalars, u.input,
                        ConstPlace{bound.chunks.get()}.as<cuda::AdamChunk>(), bound.chunk_count,
                        u.gradients.as<float>(), u.next.as<float>(), u.statistics,
                        u.values.as<float>(), u.first_moment.as<float>(),
                        u.second_moment.as<float>(), u.working.as<decltype(t)>());
    });
  };
}

void CudaBackend::add_gradients(Index count, ConstPlace gradients, Place sum) const {
  cuda::add_gradients(compute_.get(), count, gradients.as<float>(), sum.as<float>());
}

void CudaBackend::take_gradients(Index count, const StepInput* input, Place sum,
                                 Place gradients) const {
  cuda::take_gradients(compute_.get(), count, input, sum.as<float>(), gradients.as<float>());
}

void CudaBackend::clip_gradients(Index count, double most, const StepScalars* scalars,
                                 Place scratch, Place gradients) const {
  cuda::clip_gradients(compute_.get(), count, most, scalars, scratch.as<double>(),
                       gradients.as<float>());
}

void CudaBackend::move_average(Index count, const StepInput* input, const StepScalars* scalars,
                               ConstPlace values, Place average) const {
  cuda::move_average(compute_.get(), count, input, scalars, values.as<float>(),
                     average.as<float>());
}

void CudaBackend::finish(StepScalars* scalars) const {
  cuda::finish_step(compute_.get(), scalars);
}

void CudaBackend::wait(StepScalars* scalars) const {
  cuda::wait_step(compute_.get(), scalars);
}

void CudaBackend::cast(Index count, ConstPlace values, Place working) const {
  with_device_type(element(), [&](auto t) {
    cuda::cast(compute_.get(), count, values.as<float>(), working.as<decltype(t)>());
  });
}

}  // namespace dfengine
