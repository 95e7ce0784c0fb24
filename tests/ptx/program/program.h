// A kernel as the interpreter runs it: what the parser makes of PTX text.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dfengine::ptx {

constexpr int kLanes = 32;
// One bit a lane.
using Lanes = std::uint32_t;
constexpr Lanes kAllLanes = 0xFFFFFFFFu;

struct Warp;
struct Instruction;
// Carries an instruction out for some lanes of a warp.
using Action = void (*)(Warp&, const Instruction&, Lanes);

// A register is a slot of the warp's register file: a cell a lane, of four bytes or of eight.
// A predicate is one word with a bit a lane.
enum class Kind : std::uint8_t { Predicate, Narrow, Wide };
using Slot = int;
constexpr Slot kNoSlot = -1;
constexpr int kSlotBytes = kLanes * 8;

struct Register {
  Slot slot = kNoSlot;
  Kind kind = Kind::Narrow;
};

enum class Flow : std::uint8_t { Next, Branch, Exit, Barrier };
constexpr int kOfCluster = 1;  // a barrier's mode; that of a block has 0
constexpr int kRelaxed = 1;    // the mode of an arrival that orders no memory; others have 0
// Local memory is reached by generic addresses.
enum class Space : std::uint8_t { Generic, Shared, Cluster, Parameter };

struct Instruction {
  Action action = nullptr;
  Flow flow = Flow::Next;
  Slot predicate = kNoSlot;
  bool negated = false;
  // A jump leads here: lanes that parted may meet again.
  bool target_of_jump = false;
  int jump = -1;

  std::array<Slot, 8> to{};
  std::array<Slot, 10> from{};
  int destinations = 0, sources = 0;

  // Of memory: bytes of one value, values of a vector, and the address [from[0] + immediate].
  Space space = Space::Generic;
  int bytes = 0, vector = 1;
  bool wide_address = false, wide_value = false, sign_extends = false;
  std::int64_t immediate = 0;
  // What else an instruction's name says: ldmatrix's .trans, shfl's mode, whether a barrier is the
  // cluster's.
  int mode = 0;
  std::vector<Slot> sums;  // of wgmma

  std::string_view text;
  int file = 0, line = 0;  // of the CUDA source, by the .loc before it
};

struct Parameter {
  int bytes = 0, offset = 0;
};

enum class Special {
  ThreadX,
  ThreadY,
  ThreadZ,
  SizeX,
  SizeY,
  SizeZ,
  BlockX,
  BlockY,
  BlockZ,
  GridX,
  GridY,
  GridZ,
  Lane,
  Warp
};

struct Constant {
  Slot slot = kNoSlot;
  std::uint64_t value = 0;  // of a wide cell, or two narrow ones
};

struct Code {
  std::vector<Instruction> instructions;
  std::vector<Parameter> parameters;
  std::vector<Constant> constants;
  std::map<Special, Slot> specials;
  int register_bytes = 0, parameter_bytes = 0, static_shared = 0, local_bytes = 0;
  int most_threads = 0;  // .maxntid; 0: not given
};

// One PTX text: a .cu file's kernels.
struct Module {
  std::string name;  // the .cu file's or a header's, without folder and ending
  std::string text;
  std::map<int, std::string_view> files;  // what .loc counts
};

// What a kernel's instructions ask of memory and tensor cores. A wave is a clock of a
// multiprocessor's shared memory, and a sector 32 bytes of device memory: how few waves there could
// be, and how many bytes were asked for.
struct Traffic {
  long long blocks = 0, flops = 0;
  long long waves = 0, least_waves = 0;
  long long sectors_read = 0, bytes_read = 0, sectors_written = 0, bytes_written = 0;
};

// How often an instruction ran, and what it asked of shared memory.
struct InstructionCount {
  long long times = 0, waves = 0, least_waves = 0;
};

struct Kernel {
  std::string_view name;
  std::shared_ptr<const Module> module;
  std::size_t entry = 0;  // where ".entry" stands in the module's text
  // Parsed when it is first launched: a test program launches a few kernels of many.
  std::unique_ptr<const Code> code;
  long long launches = 0, instructions = 0;
  Traffic traffic;                                       // where it is counted
  std::vector<InstructionCount> counts;                  // of each instruction, likewise
  std::size_t least_shared = SIZE_MAX, most_shared = 0;  // of a launch
  unsigned most_threads = 0;
};

}  // namespace dfengine::ptx
