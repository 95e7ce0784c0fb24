#include "kernels/cuda/native/cudnn.cuh"

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/base/error.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/native/check.cuh"
#include "kernels/cuda/native/workspace.cuh"
#include "kernels/cuda/tuning/shared_library.h"

static_assert(CUDNN_MAJOR >= 9, "dfengine needs cuDNN 9");

namespace dfengine::cuda {
namespace {

constexpr std::size_t kProposals = 4;
constexpr std::int64_t kAlignment = 16;  // of tensors in a plan
// Names of the tensors within an operation.
constexpr std::int64_t kX = 'x', kW = 'w', kY = 'y';

struct Functions {
  SharedLibrary library{"libcudnn.so." + std::to_string(CUDNN_MAJOR)};
  DF_FUNCTION_OF(library, cudnnCreate);
  DF_FUNCTION_OF(library, cudnnDestroy);
  DF_FUNCTION_OF(library, cudnnSetStream);
  DF_FUNCTION_OF(library, cudnnGetVersion);
  DF_FUNCTION_OF(library, cudnnGetErrorString);
  DF_FUNCTION_OF(library, cudnnGetLastErrorString);
  DF_FUNCTION_OF(library, cudnnBackendCreateDescriptor);
  DF_FUNCTION_OF(library, cudnnBackendDestroyDescriptor);
  DF_FUNCTION_OF(library, cudnnBackendSetAttribute);
  DF_FUNCTION_OF(library, cudnnBackendGetAttribute);
  DF_FUNCTION_OF(library, cudnnBackendFinalize);
  DF_FUNCTION_OF(library, cudnnBackendExecute);
};

// The library, opened by the first call. Throws DeviceError where it is not here.
const Functions& dnn() {
  static const Functions functions;
  return functions;
}

void check_dnn(cudnnStatus_t status, const char* call, const std::string& problem,
               std::source_location place = std::source_location::current()) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char details[256] = "";
  dnn().cudnnGetLastErrorString(details, sizeof details);
  fail(std::string(call) + " failed: " + dnn().cudnnGetErrorString(status) + " (" + problem + "; " +
           details + ")",
       place);
}

// One of cuDNN's objects. Its attributes are set, then it is finished and does not change any more.
class Descriptor {
 public:
  Descriptor(cudnnBackendDescriptorType_t type, const std::string& problem) : problem_(problem) {
    cudnnBackendDescriptor_t made = nullptr;
    check_dnn(dnn().cudnnBackendCreateDescriptor(type, &made), "cudnnBackendCreateDescriptor",
              problem_);
    owned_.reset(made);
  }

  cudnnBackendDescriptor_t get() const { return owned_.get(); }

  template <class V>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  std::initializer_list<V> values) {
    check_dnn(dnn().cudnnBackendSetAttribute(
                  get(), name, type, static_cast<std::int64_t>(values.size()), values.begin()),
              "cudnnBackendSetAttribute", problem_);
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, {value.get()});
  }
  Descriptor& finish() {
    check_dnn(dnn().cudnnBackendFinalize(get()), "cudnnBackendFinalize", problem_);
    return *this;
  }

  // At most `most` values. Descriptors are filled in place.
  template <class V>
  std::vector<V> get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     std::vector<V> values) const {
    std::int64_t count = 0;
    check_dnn(
        dnn().cudnnBackendGetAttribute(get(), name, type, static_cast<std::int64_t>(values.size()),
                                       &count, values.data()),
        "cudnnBackendGetAttribute", problem_);
    values.resize(std::min(values.size(), static_cast<std::size_t>(count)));
    return values;
  }

 private:
  struct Destroy {
    void operator()(void* p) const { dnn().cudnnBackendDestroyDescriptor(p); }
  };
  std::string problem_;
  std::unique_ptr<void, Destroy> owned_;
};

std::string text_of(StorageType type, const StemProblem& p) {
  return std::string("stem ") + name_of(type) + ", " + std::to_string(p.n) + "x" +
         std::to_string(p.h) + "x" + std::to_string(p.w) + " to " + std::to_string(p.k) +
         " channels";
}

// cuDNN's order of dimensions is N C H W whatever their order in memory. The strides say that
// channels are last.
Descriptor tensor(const std::string& problem, std::int64_t name, StorageType type, Index n, Index c,
                  Index h, Index w) {
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR, problem);
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE,
        {type == StorageType::F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16})
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, {n, c, h, w})
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, {h * w * c, Index{1}, w * c, c})
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, {name})
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, {kAlignment})
      .finish();
  return d;
}

Descriptor convolution(const std::string& problem, const StemProblem& p) {
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, problem);
  const std::int64_t both = 2, stride = p.stride, one = 1;
  d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, {both})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, {CUDNN_DATA_FLOAT})
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, {CUDNN_CROSS_CORRELATION})
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, {p.before_h, p.before_w})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, {p.before_h, p.before_w})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, {one, one})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, {stride, stride})
      .finish();
  return d;
}

// The one operation as a graph. Its parts live as long as the plans that are made from it.
struct Graph {
  std::string problem;
  Descriptor x, w, y, padding_and_strides, operation, graph;

  Graph(const DnnHandle& handle, StorageType type, const StemProblem& p)
      : problem(text_of(type, p)),
        x(tensor(problem, kX, type, p.n, StemProblem::kChannels, p.h, p.w)),
        w(tensor(problem, kW, type, p.k, StemProblem::kChannels, 3, 3)),
        y(tensor(problem, kY, type, p.n, p.k, p.p, p.q)),
        padding_and_strides(convolution(problem, p)),
        operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, problem),
        graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, problem) {
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, padding_and_strides)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, {1.0f})
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, {0.0f})
        .finish();
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, {handle.get()})
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation)
        .finish();
  }
};

// Engines with their settings, as the heuristics rank them.
std::vector<Descriptor> engine_configs(const Graph& graph) {
  constexpr std::size_t kMost = 16;
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, graph.problem);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, {CUDNN_HEUR_MODE_A})
      .finish();
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> places;
  for (std::size_t i = 0; i < kMost; ++i)
    places.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, graph.problem).get());
  const auto found = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                    std::move(places));
  configs.erase(configs.begin() + static_cast<std::ptrdiff_t>(found.size()), configs.end());
  return configs;
}

// Whether every run gives the same bits.
bool is_deterministic(const Descriptor& config, const std::string& problem) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR, problem);
  config.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
             std::vector<cudnnBackendDescriptor_t>{engine.get()});
  const auto notes =
      engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                 std::vector<cudnnBackendNumericalNote_t>(CUDNN_NUMERICAL_NOTE_TYPE_COUNT));
  return std::ranges::count(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) == 0;
}

// Weights [3, 3, 3, K] as R S C K into K R S C: cuDNN's channels-last engines take no other order.
// There are 27 K numbers, which a training step changes each time.
__global__ void reorder_kernel(int k, const std::uint16_t* from, std::uint16_t* to) {
  await_previous_kernels();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < 27 * k) to[i] = from[i % 27 * k + i / 27];
}

class DnnStem {
 public:
  // Throws DeviceError where the device cannot run this engine on this problem.
  DnnStem(DnnHandle handle, std::shared_ptr<const Graph> graph, const StemProblem& p,
          Descriptor config)
      : handle_(std::move(handle)),
        graph_(std::move(graph)),
        k_(static_cast<int>(p.k)),
        config_(std::move(config)),
        plan_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, graph_->problem) {
    plan_.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, {handle_.get()})
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config_)
        .finish();
  }

  // The reordered weights, then the plan's workspace.
  Index scratch() const { return workspace_room(weights_bytes() + workspace()); }
  Index workspace() const {
    return plan_
        .get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
             std::vector<std::int64_t>(1))
        .at(0);
  }

  void run(Stream stream, const void* x, const void* w, void* y, void* scratch) const {
    constexpr int kThreads = 128;
    std::byte* const weights = workspace_in(scratch);
    launch(stream, "reorder_kernel", reorder_kernel, blocks(divide_up(27 * k_, kThreads)), kThreads,
           0, k_, static_cast<const std::uint16_t*>(w), reinterpret_cast<std::uint16_t*>(weights));
    check_dnn(dnn().cudnnSetStream(handle_.get(), stream), "cudnnSetStream", graph_->problem);
    // This costs a few words on the host, and with captured graphs only once.
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, graph_->problem);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, {kX, kW, kY})
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
             {const_cast<void*>(x), static_cast<void*>(weights), y})
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR,
             {static_cast<void*>(weights + weights_bytes())})
        .finish();
    check_dnn(dnn().cudnnBackendExecute(handle_.get(), plan_.get(), pack.get()),
              "cudnnBackendExecute", graph_->problem);
  }

 private:
  Index weights_bytes() const { return round_up(27 * k_ * Index{2}, kWorkspaceAlignment); }

  DnnHandle handle_;
  std::shared_ptr<const Graph> graph_;
  int k_;
  Descriptor config_, plan_;
};

}  // namespace

DnnHandle open_dnn() {
  cudnnHandle_t handle = nullptr;
  check_dnn(dnn().cudnnCreate(&handle), "cudnnCreate", "opening the library");
  return DnnHandle(handle, [](cudnnHandle_t h) { dnn().cudnnDestroy(h); });
}

std::string dnn_version() {
  return library_version(dnn().cudnnGetVersion());
}

std::vector<LibraryKernel> dnn_stem(const DnnHandle& handle, StorageType type,
                                    const StemProblem& p) {
  const auto behind = [&](Index in, Index out, Index before) {
    return (out - 1) * p.stride + 3 - in - before;
  };
  std::vector<LibraryKernel> all;
  // At even sizes torch's zeros behind the picture are never read.
  if (behind(p.h, p.p, p.before_h) > p.before_h || behind(p.w, p.q, p.before_w) > p.before_w)
    return all;
  const auto graph = std::make_shared<const Graph>(handle, type, p);
  std::string refusal;
  for (Descriptor& config : engine_configs(*graph)) {
    if (all.size() == kProposals) break;
    if (!is_deterministic(config, graph->problem)) continue;
    std::shared_ptr<const DnnStem> kernel;
    try {
      kernel = std::make_shared<const DnnStem>(handle, graph, p, std::move(config));
    } catch (const DeviceError& e) {  // heuristics propose what a device may not support
      refusal = e.what();
      continue;
    }
    // A workspace larger than the result would raise the plan's peak of memory.
    if (kernel->workspace() > p.output().count() * bytes_of(type)) continue;
    all.push_back({.name = "cudnn#" + std::to_string(all.size()),
                   .scratch = kernel->scratch(),
                   .launch = [kernel](Stream stream, const void* x, const void* w, Write, void* y,
                                      void* scratch) { kernel->run(stream, x, w, y, scratch); }});
  }
  if (all.empty() && !refusal.empty()) throw DeviceError(refusal);
  return all;
}

}  // namespace dfengine::cuda
