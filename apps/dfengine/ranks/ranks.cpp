#include "apps/dfengine/ranks/ranks.h"

#include <cstdlib>

#include "apps/dfengine/ranks/tcp.h"
#include "kernels/base/error.h"
#if DFENGINE_MPI
// The C interface alone: the old C++ one would have to be linked.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#endif

namespace dfengine {
namespace {

std::string& prefix() {
  static std::string text;
  return text;
}

// The number in a variable that a launcher sets; 0 where it is not there.
int number(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::atoi(value);
}

#if DFENGINE_MPI

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator() {
    int level = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  // While an exception leaves, the others may be waiting: end_ranks is for that.
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

 private:
  void exchange(int rank, std::span<const std::byte> out, std::span<std::byte> in) override {
    constexpr std::size_t kMost = std::size_t{1} << 30;  // MPI counts in int
    while (!out.empty() || !in.empty()) {
      const auto from = out.first(std::min(kMost, out.size()));
      const auto to = in.first(std::min(kMost, in.size()));
      MPI_Sendrecv(from.data(), static_cast<int>(from.size()), MPI_BYTE, rank, 0, to.data(),
                   static_cast<int>(to.size()), MPI_BYTE, rank, 0, MPI_COMM_WORLD,
                   MPI_STATUS_IGNORE);
      out = out.subspan(from.size());
      in = in.subspan(to.size());
    }
  }

  int rank_ = 0, size_ = 1;
};

std::unique_ptr<Communicator> join_over_mpi(int count, const std::string& found) {
  auto ranks = std::make_unique<MpiCommunicator>();
  if (ranks->size() == count) return ranks;
  throw UsageError(found + ", but MPI knows of " + std::to_string(ranks->size()) +
                   " processes: start them with the mpirun of the MPI that dfengine was built "
                   "with, or with srun --mpi=pmix");
}

#else

std::unique_ptr<Communicator> join_over_mpi(int, const std::string& found) {
  throw UsageError(found +
                   ": this build was made without MPI and would train as many models; build it "
                   "with libopenmpi-dev installed, or start it with torchrun --no-python");
}

#endif

std::unique_ptr<Communicator> join() {
  // Open MPI; MPICH and Intel MPI; a step of srun.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const int count = number(name); count > 1)
      return join_over_mpi(count, std::string(name) + "=" + std::to_string(count));
  const int count = number("WORLD_SIZE");
  if (count < 2) return std::make_unique<Communicator>();
  const char* address = std::getenv("MASTER_ADDR");
  if (address == nullptr || number("MASTER_PORT") == 0 || std::getenv("RANK") == nullptr)
    throw UsageError("WORLD_SIZE=" + std::to_string(count) +
                     " without RANK, MASTER_ADDR and MASTER_PORT: start with torchrun "
                     "--no-python or mpirun, or unset it");
  // torchrun's own store listens at the port.
  const char* store = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  const int next = store != nullptr && std::string(store) == "True" ? 1 : 0;
  return join_over_tcp({number("RANK"), count, address, number("MASTER_PORT") + next});
}

}  // namespace

std::unique_ptr<Communicator> join_ranks() {
  std::unique_ptr<Communicator> ranks = join();
  if (ranks->size() > 1)
    prefix() =
        "rank " + std::to_string(ranks->rank()) + " of " + std::to_string(ranks->size()) + ": ";
  return ranks;
}

std::string rank_prefix() {
  return prefix();
}

void end_ranks([[maybe_unused]] int code) {
#if DFENGINE_MPI
  int begun = 0, ended = 0;
  MPI_Initialized(&begun);
  MPI_Finalized(&ended);
  if (begun != 0 && ended == 0) MPI_Abort(MPI_COMM_WORLD, code);
#endif
}

}  // namespace dfengine
