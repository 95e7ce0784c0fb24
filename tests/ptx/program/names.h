// What the names in a kernel stand for: registers, parameters, shared and local memory.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "tests/ptx/program/program.h"

namespace dfengine::ptx {

class Names {
 public:
  explicit Names(Code& code) : code_(code) {}

  // ".reg .TYPE LIST", where "%r<30>" means %r0 to %r29.
  void declare_registers(std::string_view type, std::string_view list);
  // Of a call's argument or result, which is a register here.
  void declare_argument(std::string_view name);
  void declare_parameter(std::string_view name, int alignment, int bytes);
  void declare_shared(std::string_view name, int alignment, int bytes);
  void declare_local(std::string_view name, int alignment, int bytes);
  // Behind all that is static.
  void declare_dynamic_shared(std::string_view name);

  std::optional<Register> find(std::string_view name);
  // A register that an instruction of this kind may write to.
  Slot destination(std::string_view name, Kind kind);
  // A register, a special register, a literal or an address, as an instruction of this kind reads
  // it.
  Slot source(std::string_view operand, Kind kind);
  std::optional<std::int64_t> local_offset(std::string_view name) const;
  // "[NAME+OFFSET]" becomes the instruction's space, from[0] and immediate.
  void set_address(Instruction& instruction, std::string_view operand);

 private:
  struct Range {
    int count = 0;
    Kind kind = Kind::Narrow;
  };

  Slot new_slot();
  Register add(std::string_view name, Kind kind);
  Slot constant(std::uint64_t value, Kind kind);
  std::optional<Slot> special(std::string_view name);

  Code& code_;
  std::unordered_map<std::string_view, Register> registers_;
  std::unordered_map<std::string_view, Range> ranges_;
  std::unordered_map<std::string_view, std::int64_t> parameters_, shared_, local_;
  std::map<std::pair<std::uint64_t, Kind>, Slot> constants_;
};

}  // namespace dfengine::ptx
