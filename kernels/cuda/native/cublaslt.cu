#include "kernels/cuda/native/cublaslt.cuh"

#include <array>
#include <cstdint>

#include "kernels/cuda/native/check.cuh"
#include "kernels/cuda/native/workspace.cuh"

namespace dfengine::cuda {
namespace {

constexpr int kProposals = 6;
constexpr std::uint64_t kWorkspace = 32 << 20;  // what NVIDIA advises for Hopper
constexpr std::uint32_t kAlignment = 16;        // of tensors in a plan

void check_lt(cublasStatus_t status, const char* call, const std::string& problem,
              std::source_location place = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(std::string(call) + " failed: " + cublasLtGetStatusString(status) + " (" + problem + ")",
       place);
}

struct Destroy {
  void operator()(cublasLtMatmulDesc_t p) const { cublasLtMatmulDescDestroy(p); }
  void operator()(cublasLtMatrixLayout_t p) const { cublasLtMatrixLayoutDestroy(p); }
  void operator()(cublasLtMatmulPreference_t p) const { cublasLtMatmulPreferenceDestroy(p); }
};
using Operation = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy>;
using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroy>;

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

// d[rows, columns] = op(a) op(b). cuBLAS stores matrices column by column, where a row-major matrix
// of ours is its own transpose. Each product is therefore asked for transposed, which swaps the
// operands of all but the weight gradient.
struct LtMatrices {
  cublasOperation_t a_operation, b_operation;
  Index a_rows, a_columns, b_rows, b_columns, d_rows, d_columns;
  StorageType d_type;
  bool swapped;  // a is the second operand of the launch
};

LtMatrices matrices_of(PointwisePass pass, StorageType type, const PointwiseProblem& p) {
  switch (pass) {
    case PointwisePass::Forward:  // y^T = w x^T
      return {.a_operation = CUBLAS_OP_T,
              .b_operation = CUBLAS_OP_N,
              .a_rows = p.c,
              .a_columns = p.k,
              .b_rows = p.c,
              .b_columns = p.m,
              .d_rows = p.k,
              .d_columns = p.m,
              .d_type = type,
              .swapped = true};
    case PointwisePass::DataGradient:  // dx^T = w^T dy^T
      return {.a_operation = CUBLAS_OP_N,
              .b_operation = CUBLAS_OP_N,
              .a_rows = p.c,
              .a_columns = p.k,
              .b_rows = p.k,
              .b_columns = p.m,
              .d_rows = p.c,
              .d_columns = p.m,
              .d_type = type,
              .swapped = true};
    case PointwisePass::WeightGradient:  // dw^T = x^T dy
      break;
  }
  return {.a_operation = CUBLAS_OP_N,
          .b_operation = CUBLAS_OP_T,
          .a_rows = p.c,
          .a_columns = p.m,
          .b_rows = p.k,
          .b_columns = p.m,
          .d_rows = p.c,
          .d_columns = p.k,
          .d_type = StorageType::F32,
          .swapped = false};
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
    const LtMatrices g = matrices_of(pass, type, p);
    swapped_ = g.swapped;
    cublasLtMatmulDesc_t operation = nullptr;
    check_lt(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
             "cublasLtMatmulDescCreate", text_);
    operation_.reset(operation);
    set(CUBLASLT_MATMUL_DESC_TRANSA, g.a_operation);
    set(CUBLASLT_MATMUL_DESC_TRANSB, g.b_operation);
    a_ = layout(type, g.a_rows, g.a_columns);
    b_ = layout(type, g.b_rows, g.b_columns);
    d_ = layout(g.d_type, g.d_rows, g.d_columns);
  }

  std::vector<Proposal> proposals() const {
    cublasLtMatmulPreference_t made = nullptr;
    check_lt(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate", text_);
    const Preference preference(made);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      check_lt(cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof value),
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
    check_lt(cublasLtMatmulAlgoGetHeuristic(handle_.get(), operation_.get(), a_.get(), b_.get(),
                                            d_.get(), d_.get(), made, kProposals, results, &found),
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
    check_lt(cublasLtMatmul(handle_.get(), operation_.get(), &one, a, a_.get(), b, b_.get(), &beta,
                            d, d_.get(), d, d_.get(), &proposal.algorithm, workspace_in(scratch),
                            proposal.workspace, stream),
             "cublasLtMatmul", text_);
  }

 private:
  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, const V& value) {
    check_lt(cublasLtMatmulDescSetAttribute(operation_.get(), attribute, &value, sizeof value),
             "cublasLtMatmulDescSetAttribute", text_);
  }
  Layout layout(StorageType type, Index rows, Index columns) const {
    cublasLtMatrixLayout_t made = nullptr;
    check_lt(cublasLtMatrixLayoutCreate(&made, data_type(type), static_cast<std::uint64_t>(rows),
                                        static_cast<std::uint64_t>(columns), rows),
             "cublasLtMatrixLayoutCreate", text_);
    return Layout(made);
  }

  LtHandle handle_;
  std::string text_;
  bool swapped_ = false;
  Operation operation_;
  Layout a_, b_, d_;
};

}  // namespace

LtHandle open_lt() {
  cublasLtHandle_t handle = nullptr;
  check_lt(cublasLtCreate(&handle), "cublasLtCreate", "opening the library");
  return LtHandle(handle, [](cublasLtHandle_t h) { cublasLtDestroy(h); });
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
