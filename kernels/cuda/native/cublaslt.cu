#include "kernels/cuda/native/cublaslt.cuh"

#include <array>
#include <cstdint>

#include "kernels/cuda/native/check.cuh"
#include "kernels/cuda/native/workspace.cuh"
#include "kernels/cuda/tuning/shared_library.h"

namespace dfengine::cuda {
namespace {

constexpr int kProposals = 6;
constexpr std::uint64_t kWorkspace = 32 << 20;  // what NVIDIA advises for Hopper
constexpr std::uint32_t kAlignment = 16;        // of tensors in a plan

struct Functions {
  SharedLibrary library{"libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR)};
  DF_FUNCTION_OF(library, cublasLtCreate);
  DF_FUNCTION_OF(library, cublasLtDestroy);
  DF_FUNCTION_OF(library, cublasLtGetVersion);
  DF_FUNCTION_OF(library, cublasLtGetStatusString);
  DF_FUNCTION_OF(library, cublasLtMatmul);
  DF_FUNCTION_OF(library, cublasLtMatmulAlgoGetHeuristic);
  DF_FUNCTION_OF(library, cublasLtMatmulDescCreate);
  DF_FUNCTION_OF(library, cublasLtMatmulDescDestroy);
  DF_FUNCTION_OF(library, cublasLtMatmulDescSetAttribute);
  DF_FUNCTION_OF(library, cublasLtMatmulPreferenceCreate);
  DF_FUNCTION_OF(library, cublasLtMatmulPreferenceDestroy);
  DF_FUNCTION_OF(library, cublasLtMatmulPreferenceSetAttribute);
  DF_FUNCTION_OF(library, cublasLtMatrixLayoutCreate);
  DF_FUNCTION_OF(library, cublasLtMatrixLayoutDestroy);
};

// The library, opened by the first call. Throws DeviceError where it is not here.
const Functions& lt() {
  static const Functions functions;
  return functions;
}

void check_lt(cublasStatus_t status, const char* call, const std::string& problem,
              std::source_location place = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(
      std::string(call) + " failed: " + lt().cublasLtGetStatusString(status) + " (" + problem + ")",
      place);
}

struct Destroy {
  void operator()(cublasLtMatmulDesc_t p) const { lt().cublasLtMatmulDescDestroy(p); }
  void operator()(cublasLtMatrixLayout_t p) const { lt().cublasLtMatrixLayoutDestroy(p); }
  void operator()(cublasLtMatmulPreference_t p) const { lt().cublasLtMatmulPreferenceDestroy(p); }
};
template <class Opaque>
using Owned = std::unique_ptr<Opaque, Destroy>;

// What create(&made, args...) makes.
template <class Opaque, class... A>
Owned<Opaque> make(const char* call, cublasStatus_t (*create)(Opaque**, A...),
                   const std::string& problem, std::type_identity_t<A>... args) {
  Opaque* made = nullptr;
  check_lt(create(&made, args...), call, problem);
  return Owned<Opaque>(made);
}

cudaDataType_t data_type(StorageType type) {
  switch (type) {
    case StorageType::F16:
      return CUDA_R_16F;
    case StorageType::BF16:
      return CUDA_R_16BF;
    case StorageType::F32:
      break;
  }
  return CUDA_R_32F;
}

struct Matrix {
  Index rows, columns;
  cublasOperation_t operation = CUBLAS_OP_N;
};

// d = op(a) op(b). cuBLAS stores matrices column by column, where a row-major matrix of ours is its
// own transpose. Each product is therefore asked for transposed, which swaps the operands of all
// but the weight gradient.
struct LtMatrices {
  Matrix a, b, d;
  bool swapped = true;  // a is the second operand of the launch
};

LtMatrices matrices_of(PointwisePass pass, const PointwiseProblem& p) {
  switch (pass) {
    case PointwisePass::Forward:  // y^T = w x^T
      return {.a = {p.c, p.k, CUBLAS_OP_T}, .b = {p.c, p.m}, .d = {p.k, p.m}};
    case PointwisePass::DataGradient:  // dx^T = w^T dy^T
      return {.a = {p.c, p.k}, .b = {p.k, p.m}, .d = {p.c, p.m}};
    case PointwisePass::WeightGradient:  // dw^T = x^T dy
      break;
  }
  return {.a = {p.c, p.m}, .b = {p.k, p.m, CUBLAS_OP_T}, .d = {p.c, p.k}, .swapped = false};
}

struct Proposal {
  cublasLtMatmulAlgo_t algorithm;
  std::size_t workspace;  // bytes
};

// A product's descriptors, shared by all algorithms for it.
class Problem {
 public:
  Problem(LtHandle handle, PointwisePass pass, StorageType type, const PointwiseProblem& p)
      : handle_(std::move(handle)),
        text_(std::string("pointwise ") + name_of(type) + ", " + std::to_string(p.m) + " rows, " +
              std::to_string(p.c) + " to " + std::to_string(p.k) + " channels") {
    const LtMatrices matrices = matrices_of(pass, p);
    swapped_ = matrices.swapped;
    operation_ = make("cublasLtMatmulDescCreate", lt().cublasLtMatmulDescCreate, text_,
                      CUBLAS_COMPUTE_32F, CUDA_R_32F);
    set(CUBLASLT_MATMUL_DESC_TRANSA, matrices.a.operation);
    set(CUBLASLT_MATMUL_DESC_TRANSB, matrices.b.operation);
    a_ = layout(type, matrices.a);
    b_ = layout(type, matrices.b);
    d_ = layout(pass == PointwisePass::WeightGradient ? StorageType::F32 : type, matrices.d);
  }

  std::vector<Proposal> proposals() const {
    const auto preference =
        make("cublasLtMatmulPreferenceCreate", lt().cublasLtMatmulPreferenceCreate, text_);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      check_lt(lt().cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value,
                                                         sizeof value),
               "cublasLtMatmulPreferenceSetAttribute", text_);
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
    // Where a depth is split, the sums are in float and in a fixed order, so that every run gives
    // the same bits.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(attribute, kAlignment);
    cublasLtMatmulHeuristicResult_t results[kProposals] = {};
    int found = 0;
    check_lt(lt().cublasLtMatmulAlgoGetHeuristic(handle_.get(), operation_.get(), a_.get(),
                                                 b_.get(), d_.get(), d_.get(), preference.get(),
                                                 kProposals, results, &found),
             "cublasLtMatmulAlgoGetHeuristic", text_);
    std::vector<Proposal> all;
    for (int i = 0; i < found; ++i)
      if (results[i].state == CUBLAS_STATUS_SUCCESS)
        all.push_back({results[i].algo, results[i].workspaceSize});
    return all;
  }

  void run(Stream stream, const Proposal& proposal, const void* first, const void* second,
           Write write, void* d, void* scratch) const {
    const float one = 1.0f, beta = write == Write::Accumulate ? 1.0f : 0.0f;
    const void* const a = swapped_ ? second : first;
    const void* const b = swapped_ ? first : second;
    check_lt(lt().cublasLtMatmul(handle_.get(), operation_.get(), &one, a, a_.get(), b, b_.get(),
                                 &beta, d, d_.get(), d, d_.get(), &proposal.algorithm,
                                 workspace_in(scratch), proposal.workspace, stream),
             "cublasLtMatmul", text_);
  }

 private:
  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, const V& value) {
    check_lt(lt().cublasLtMatmulDescSetAttribute(operation_.get(), attribute, &value, sizeof value),
             "cublasLtMatmulDescSetAttribute", text_);
  }
  Owned<cublasLtMatrixLayoutOpaque_t> layout(StorageType type, const Matrix& m) const {
    return make("cublasLtMatrixLayoutCreate", lt().cublasLtMatrixLayoutCreate, text_,
                data_type(type), static_cast<std::uint64_t>(m.rows),
                static_cast<std::uint64_t>(m.columns), m.rows);
  }

  LtHandle handle_;
  std::string text_;
  bool swapped_ = false;
  Owned<cublasLtMatmulDescOpaque_t> operation_;
  Owned<cublasLtMatrixLayoutOpaque_t> a_, b_, d_;
};

}  // namespace

LtHandle open_lt() {
  cublasLtHandle_t handle = nullptr;
  check_lt(lt().cublasLtCreate(&handle), "cublasLtCreate", "opening the library");
  return LtHandle(handle, [](cublasLtHandle_t h) { lt().cublasLtDestroy(h); });
}

std::string lt_version() {
  return library_version(lt().cublasLtGetVersion());
}

std::vector<LibraryKernel> lt_products(const LtHandle& handle, PointwisePass pass, StorageType type,
                                       const PointwiseProblem& p) {
  const auto problem = std::make_shared<const Problem>(handle, pass, type, p);
  std::vector<LibraryKernel> all;
  for (const Proposal& proposal : problem->proposals())
    all.push_back({.name = "cublaslt#" + std::to_string(all.size()),
                   .scratch = workspace_room(static_cast<Index>(proposal.workspace)),
                   .launch = [=](Stream stream, const void* a, const void* b, Write write,
                                 void* out, void* scratch) {
                     problem->run(stream, proposal, a, b, write, out, scratch);
                   }});
  return all;
}

}  // namespace dfengine::cuda
