// kernels/cuda/device_ranks.h on NCCL.
#include "kernels/cuda/device_ranks.h"

#include <cstring>
#include <exception>

#include "kernels/base/error.h"
#include "kernels/cuda/native/check.cuh"
#include "kernels/cuda/tuning/shared_library.h"

struct ncclComm;  // NCCL's own

namespace dfengine::cuda {
namespace {

// What of NCCL's header is used, which is no part of the toolkit. It has been the same since 2.13.
struct Id {
  char bytes[128];
};
enum Result : int { kSuccess = 0 };
enum Type : int { kInt8 = 0, kFloat32 = 7, kFloat64 = 8 };
enum Operation : int { kSum = 0 };

struct Functions {
  SharedLibrary library{"libnccl.so.2"};
  Result (*get_unique_id)(Id*) = library.function("ncclGetUniqueId");
  Result (*init_rank)(ncclComm**, int, Id, int) = library.function("ncclCommInitRank");
  Result (*destroy)(ncclComm*) = library.function("ncclCommDestroy");
  Result (*abort)(ncclComm*) = library.function("ncclCommAbort");
  Result (*all_gather)(const void*, void*, std::size_t, Type, ncclComm*,
                       cudaStream_t) = library.function("ncclAllGather");
  Result (*all_reduce)(const void*, void*, std::size_t, Type, Operation, ncclComm*,
                       cudaStream_t) = library.function("ncclAllReduce");
  const char* (*error_string)(Result) = library.function("ncclGetErrorString");
  const char* (*last_error)(ncclComm*) = library.function("ncclGetLastError");
};

// The library, opened by the first call. Throws DeviceError where it is not here.
const Functions& nccl() {
  try {
    static const Functions functions;
    return functions;
  } catch (const DeviceError& e) {
    throw DeviceError(std::string("several processes on GPUs need NCCL (package libnccl2, or ") +
                      "nvidia-nccl-cu13 of PyPI), or one process with all pictures: " + e.what());
  }
}

void check_nccl(Result status, const char* call, ncclComm* comm = nullptr,
                std::source_location place = std::source_location::current()) {
  if (status == kSuccess) return;
  fail(std::string(call) + " failed: " + nccl().error_string(status) + " (" +
           nccl().last_error(comm) + ")",
       place, "; start one process for each GPU, and set NCCL_DEBUG=INFO to see more");
}

}  // namespace

std::string new_meeting() {
  Id id{};
  check_nccl(nccl().get_unique_id(&id), "ncclGetUniqueId");
  return {id.bytes, sizeof id.bytes};
}

struct DeviceRanks::Joined {
  ncclComm* comm = nullptr;
};

DeviceRanks::DeviceRanks(const std::string& meeting, int rank, int size)
    : joined_(std::make_unique<Joined>()) {
  Id id{};
  if (meeting.size() != sizeof id.bytes)
    throw DeviceError("NCCL: rank 0 did not say where to meet; all ranks need the same build");
  std::memcpy(id.bytes, meeting.data(), sizeof id.bytes);
  check_nccl(nccl().init_rank(&joined_->comm, size, id, rank), "ncclCommInitRank");
}

DeviceRanks::~DeviceRanks() {
  if (std::uncaught_exceptions() > 0)
    nccl().abort(joined_->comm);
  else
    nccl().destroy(joined_->comm);
}

void DeviceRanks::gather(Stream stream, Index bytes, const void* mine, void* all) const {
  check_nccl(
      nccl().all_gather(mine, all, static_cast<std::size_t>(bytes), kInt8, joined_->comm, stream),
      "ncclAllGather", joined_->comm);
}

void DeviceRanks::sum(Stream stream, Index count, float* values) const {
  check_nccl(nccl().all_reduce(values, values, static_cast<std::size_t>(count), kFloat32, kSum,
                               joined_->comm, stream),
             "ncclAllReduce", joined_->comm);
}

void DeviceRanks::sum(Stream stream, Index count, double* values) const {
  check_nccl(nccl().all_reduce(values, values, static_cast<std::size_t>(count), kFloat64, kSum,
                               joined_->comm, stream),
             "ncclAllReduce", joined_->comm);
}

}  // namespace dfengine::cuda
