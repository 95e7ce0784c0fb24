#include "tests/ptx/program/decoder.h"

#include <cmath>

#include "tests/ptx/instructions/lane_wise.h"
#include "tests/ptx/instructions/memory.h"
#include "tests/ptx/instructions/warp_wide.h"
#include "tests/ptx/instructions/warpgroup.h"
#include "tests/ptx/program/text.h"

namespace dfengine::ptx {
namespace {

// A statement in parts: "ld.shared.v2.u32 {%r1, %r2}, [%rd1+8]".
struct Statement {
  std::string_view name;                   // ld.shared.v2.u32
  std::vector<std::string_view> words;     // ld, shared, v2, u32
  std::vector<std::string_view> operands;  // {%r1, %r2} and [%rd1+8]

  bool has(std::string_view word) const {
    return std::find(words.begin(), words.end(), word) != words.end();
  }
  std::string_view operand(std::size_t n) const {
    if (n >= operands.size()) throw SyntaxError("too few operands");
    return operands[n];
  }
};

Statement parts_of(std::string_view text) {
  Statement s;
  std::size_t end = 0;
  while (end < text.size() && !is_space(text[end])) ++end;
  s.name = text.substr(0, end);
  s.words = split(s.name, '.');
  const std::string_view rest = trimmed(text.substr(end));
  if (!rest.empty()) s.operands = split(rest, ',');
  return s;
}

Kind kind_of_bytes(int bytes) {
  return bytes == 8 ? Kind::Wide : Kind::Narrow;
}

int vector_length(const Statement& s, const char* two, const char* four) {
  return s.has(four) ? 4 : s.has(two) ? 2 : 1;
}

void add_destination(Instruction& i, Names& names, std::string_view name, Kind kind) {
  i.to.at(static_cast<std::size_t>(i.destinations++)) = names.destination(name, kind);
}

void add_source(Instruction& i, Names& names, std::string_view operand, Kind kind) {
  i.from.at(static_cast<std::size_t>(i.sources++)) = names.source(operand, kind);
}

void add_sources(Instruction& i, Names& names, std::string_view list, std::size_t count) {
  const auto all = elements(list);
  if (all.size() != count) throw SyntaxError("not " + std::to_string(count) + " registers");
  for (const std::string_view one : all) add_source(i, names, one, Kind::Narrow);
}

// A call's arguments and results are registers here: "st.param.f64 [param0], %fd1" is a move.
bool set_argument(Instruction& i, const Statement& s, Names& names, bool is_store) {
  const std::string_view address = s.operand(is_store ? 0 : 1);
  const std::string_view name = trimmed(address.substr(1, address.find_first_of("+]") - 1));
  const auto found = name.front() == '%' ? std::nullopt : names.find(name);
  if (!found) return false;
  i.action = find_lane_wise("mov.b64")->action;
  i.to[0] = is_store ? found->slot : names.destination(s.operand(0), Kind::Wide);
  i.from[0] = is_store ? names.source(s.operand(1), Kind::Wide) : found->slot;
  return true;
}

// Whether values are wide says the register: ld.u32 may go to a 64-bit register, st.u8 come from 16
// bits.
void decode_memory(Instruction& i, const Statement& s, Names& names) {
  const bool is_store = s.words[0] == "st";
  i.bytes = bytes_of_type(s.words.back());
  if (i.bytes == 0) throw SyntaxError("no type");
  i.vector = vector_length(s, "v2", "v4");
  i.sign_extends = s.words.back().front() == 's';
  if (s.has("shared") || s.has("shared::cta")) i.space = Space::Shared;
  if (s.has("shared::cluster")) i.space = Space::Cluster;
  if (s.has("param")) {
    if (set_argument(i, s, names, is_store)) return;
    i.space = Space::Parameter;
  }
  names.set_address(i, s.operand(is_store ? 0 : 1));
  const auto values = elements(s.operand(is_store ? 1 : 0));
  if (values.size() != static_cast<std::size_t>(i.vector))
    throw SyntaxError("vector of another length");
  i.sources = 1;
  for (const std::string_view value : values) {
    const auto found = names.find(value);
    const Kind kind = found ? found->kind : kind_of_bytes(i.bytes);
    i.wide_value = kind == Kind::Wide;
    if (is_store) {
      add_source(i, names, value, kind);
    } else {
      add_destination(i, names, value, kind);
    }
  }
  i.action = is_store ? store : load;
}

// Moves that are more than a copy: to and from pairs of registers, and of a local array's address.
bool decode_move(Instruction& i, const Statement& s, Names& names) {
  const std::string_view to = s.operand(0), from = s.operand(1);
  i.bytes = bytes_of_type(s.words.back());
  const Kind whole = kind_of_bytes(i.bytes);
  if (to.front() == '{') {
    for (const std::string_view part : elements(to)) add_destination(i, names, part, Kind::Narrow);
    add_source(i, names, from, whole);
    i.action = split_register;
  } else if (from.front() == '{') {
    add_destination(i, names, to, whole);
    add_sources(i, names, from, 2);
    i.action = join_registers;
  } else if (const auto offset = names.local_offset(from)) {
    add_destination(i, names, to, Kind::Wide);
    i.immediate = *offset;
    i.action = address_of_local;
  }
  return i.action != nullptr;
}

// Global, local and generic addresses are the same here.
void decode_address_conversion(Instruction& i, const Statement& s, Names& names) {
  add_destination(i, names, s.operand(0), Kind::Wide);
  add_source(i, names, s.operand(1), Kind::Wide);
  i.action = !s.has("shared") ? find_lane_wise("mov.b64")->action
             : s.has("to")    ? generic_to_shared
                              : shared_to_generic;
}

void decode_mma(Instruction& i, const Statement& s, Names& names) {
  if (s.name == "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32" ||
      s.name == "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32") {
    i.action = multiply_f16;
  } else if (s.name == "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" ||
             s.name == "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32") {
    i.action = multiply_bf16;
  } else {
    throw SyntaxError("mma of another shape or type");
  }
  const int depth = s.has("m16n8k8") ? 8 : 16;
  i.mode = depth;
  for (const std::string_view d : elements(s.operand(0)))
    add_destination(i, names, d, Kind::Narrow);
  add_sources(i, names, s.operand(1), depth / 4);
  add_sources(i, names, s.operand(2), depth / 8);
  add_sources(i, names, s.operand(3), 4);
}

void decode_load_matrix(Instruction& i, const Statement& s, Names& names) {
  i.vector = vector_length(s, "x2", "x4");
  i.mode = s.has("trans") ? 1 : 0;
  for (const std::string_view d : elements(s.operand(0)))
    add_destination(i, names, d, Kind::Narrow);
  names.set_address(i, s.operand(1));
  if (i.destinations != i.vector || i.from[0] == kNoSlot || i.wide_address)
    throw SyntaxError("ldmatrix of another form");
  i.action = load_matrix;
}

void decode_warpgroup(Instruction& i, const Statement& s, Names& names) {
  if (s.name == "wgmma.fence.sync.aligned") {
    i.action = begin_products;
  } else if (s.name == "wgmma.commit_group.sync.aligned") {
    i.action = commit_products;
  } else if (s.name == "wgmma.wait_group.sync.aligned") {
    i.immediate = integer(s.operand(0));
    i.action = wait_for_products;
  } else if (s.name.starts_with("wgmma.mma_async.sync.aligned.m64n") && s.has("f32")) {
    i.mode = s.has("bf16") ? 1 : 0;
    for (const std::string_view d : elements(s.operand(0)))
      i.sums.push_back(names.destination(d, Kind::Narrow));
    add_source(i, names, s.operand(1), Kind::Wide);
    add_source(i, names, s.operand(2), Kind::Wide);
    const std::string shape = "m64n" + std::to_string(2 * i.sums.size()) + "k16";
    // Added to what is there, neither factor negated nor transposed.
    constexpr std::string_view kPlain[] = {"1", "1", "1", "0", "0"};
    if (!s.has(shape) || i.sums.size() % 4 != 0 || s.operands.size() != 8 ||
        !std::equal(s.operands.begin() + 3, s.operands.end(), kPlain))
      throw SyntaxError("wgmma of another form");
    i.action = start_product;
  } else {
    throw SyntaxError("unknown instruction");
  }
}

Slot plain_address(Names& names, std::string_view operand, bool wide) {
  Instruction i;
  names.set_address(i, operand);
  if (i.immediate != 0 || i.from[0] == kNoSlot || i.wide_address != wide)
    throw SyntaxError("cp.async with another address");
  return i.from[0];
}

void decode_copy(Instruction& i, const Statement& s, Names& names) {
  if (s.name == "cp.async.commit_group") {
    i.action = commit_copies;
  } else if (s.name == "cp.async.wait_group" || s.name == "cp.async.wait_all") {
    if (s.has("wait_all")) throw SyntaxError("it also waits for what is not committed");
    i.immediate = integer(s.operand(0));
    i.action = wait_for_copies;
  } else if (s.name == "cp.async.cg.shared.global" || s.name == "cp.async.ca.shared.global") {
    i.from[0] = plain_address(names, s.operand(0), false);
    i.from[1] = plain_address(names, s.operand(1), true);
    i.sources = 2;
    i.bytes = static_cast<int>(integer(s.operand(2)));
    if (s.operands.size() > 3) add_source(i, names, s.operand(3), Kind::Narrow);
    i.action = copy;
  } else {
    throw SyntaxError("unknown instruction");
  }
}

void decode_shuffle(Instruction& i, const Statement& s, Names& names) {
  i.mode = s.has("bfly") ? kButterfly : s.has("down") ? kDown : s.has("up") ? kUp : kIndex;
  const auto to = split(s.operand(0), '|');
  add_destination(i, names, to[0], Kind::Narrow);
  if (to.size() > 1) add_destination(i, names, to[1], Kind::Predicate);
  for (std::size_t n = 1; n <= 4; ++n) add_source(i, names, s.operand(n), Kind::Narrow);
  i.action = shuffle;
}

// CUDA's pow is the one function that nvcc does not inline.
void decode_call(Instruction& i, std::string_view text, Names& names) {
  if (text.find("__internal_accurate_pow") == text.npos) throw SyntaxError("unknown function");
  add_destination(i, names, "retval0", Kind::Wide);
  add_source(i, names, "param0", Kind::Wide);
  add_source(i, names, "param1", Kind::Wide);
  i.action = lane_wise<[](double a, double b) -> double { return std::pow(a, b); }>().action;
}

void decode_lane_wise(Instruction& i, const Statement& s, Names& names) {
  const LaneWise* const known = find_lane_wise(std::string(s.name));
  if (known == nullptr) throw SyntaxError("unknown instruction");
  if (s.operands.size() != static_cast<std::size_t>(known->sources) + 1)
    throw SyntaxError("another number of operands");
  i.action = known->action;
  add_destination(i, names, s.operand(0), known->to);
  for (std::size_t n = 0; n < static_cast<std::size_t>(known->sources); ++n)
    add_source(i, names, s.operand(n + 1), known->from.at(n));
}

// True for what directs the flow and computes nothing.
bool decode_flow(Instruction& i, const Statement& s, const Labels& labels) {
  if (s.words[0] == "bra") {
    const auto label = labels.find(s.operand(0));
    if (label == labels.end()) throw SyntaxError("unknown label");
    i.flow = Flow::Branch;
    i.jump = label->second;
  } else if (s.name == "ret" || s.name == "exit") {
    i.flow = Flow::Exit;
  } else if (s.name == "bar.sync" || s.name == "barrier.sync") {
    if (s.operands.size() != 1 || s.operand(0) != "0")
      throw SyntaxError("barrier of a part of the block");
    i.flow = Flow::Barrier;
  } else if (s.name == "barrier.cluster.wait.acquire.aligned") {
    i.flow = Flow::Barrier;
    i.mode = kOfCluster;
  }
  return i.flow != Flow::Next;
}

}  // namespace

Instruction decode(std::string_view text, Names& names, const Labels& labels) {
  Instruction i;
  i.text = text;
  if (text.front() == '@') {
    text.remove_prefix(1);
    i.negated = text.front() == '!';
    if (i.negated) text.remove_prefix(1);
    i.predicate = names.source(take_word(text), Kind::Predicate);
  }
  const Statement s = parts_of(text);
  const std::string_view first = s.words[0];
  if (decode_flow(i, s, labels)) return i;
  if (s.name == "bar.warp.sync") {
    i.action = synchronise_warp;
  } else if (s.name == "barrier.cluster.arrive.release.aligned") {
    i.action = arrive_at_cluster_barrier;
  } else if (s.name == "barrier.cluster.arrive.relaxed.aligned") {
    i.action = arrive_at_cluster_barrier;
    i.mode = kRelaxed;
  } else if (s.name == "griddepcontrol.launch_dependents") {
    i.action = launch_next;
  } else if (first == "wgmma") {
    decode_warpgroup(i, s, names);
  } else if (s.name == "fence.proxy.async.shared::cta") {
    i.action = publish;
  } else if (s.name == "griddepcontrol.wait") {
    i.action = await_previous;
  } else if (first == "ld" || first == "st") {
    decode_memory(i, s, names);
  } else if (first == "cvta") {
    decode_address_conversion(i, s, names);
  } else if (s.name == "mapa.shared::cluster.u32") {
    add_destination(i, names, s.operand(0), Kind::Narrow);
    for (const std::size_t n : {1, 2}) add_source(i, names, s.operand(n), Kind::Narrow);
    i.action = map_to_block;
  } else if (first == "mma") {
    decode_mma(i, s, names);
  } else if (first == "ldmatrix") {
    decode_load_matrix(i, s, names);
  } else if (first == "cp") {
    decode_copy(i, s, names);
  } else if (first == "shfl") {
    decode_shuffle(i, s, names);
  } else if (first == "call") {
    decode_call(i, text, names);
  } else if (first != "mov" || !decode_move(i, s, names)) {
    decode_lane_wise(i, s, names);
  }
  return i;
}

}  // namespace dfengine::ptx
