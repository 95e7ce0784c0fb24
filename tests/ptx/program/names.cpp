#include "tests/ptx/program/names.h"

#include "tests/ptx/program/text.h"

namespace dfengine::ptx {
namespace {

// Where arrays of the largest type may begin.
constexpr int kAlignment = 16;

int rounded_up(int bytes, int alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

Kind kind_of_type(std::string_view type) {
  const int bytes = bytes_of_type(type);
  if (bytes == 0) throw SyntaxError("unknown type " + std::string(type));
  return type == "pred" ? Kind::Predicate : bytes == 8 ? Kind::Wide : Kind::Narrow;
}

// PTX ISA, "Constant Expressions": 0f and 0d stand before a number's bits.
std::optional<std::uint64_t> literal(std::string_view text) {
  if (text.size() > 2 && text[0] == '0' &&
      (text[1] == 'f' || text[1] == 'F' || text[1] == 'd' || text[1] == 'D'))
    return std::stoull(std::string(text.substr(2)), nullptr, 16);
  if (text.empty() || (text[0] != '-' && (text[0] < '0' || text[0] > '9'))) return std::nullopt;
  return static_cast<std::uint64_t>(integer(text));
}

}  // namespace

Slot Names::new_slot() {
  const Slot slot = code_.register_bytes;
  code_.register_bytes += kSlotBytes;
  return slot;
}

Register Names::add(std::string_view name, Kind kind) {
  const auto [place, is_new] = registers_.try_emplace(name, Register{kNoSlot, kind});
  if (is_new) place->second.slot = new_slot();
  return place->second;
}

void Names::declare_registers(std::string_view type, std::string_view list) {
  const Kind kind = kind_of_type(type);
  for (const std::string_view item : split(list, ',')) {
    const std::size_t open = item.find('<');
    if (open == item.npos) {
      add(item, kind);
    } else {
      const auto count = integer(item.substr(open + 1, item.find('>') - open - 1));
      ranges_[item.substr(0, open)] = {static_cast<int>(count), kind};
    }
  }
}

void Names::declare_argument(std::string_view name) {
  add(name, Kind::Wide);
}

void Names::declare_parameter(std::string_view name, int alignment, int bytes) {
  const int offset = rounded_up(code_.parameter_bytes, alignment);
  parameters_[name] = offset;
  code_.parameters.push_back({bytes, offset});
  code_.parameter_bytes = offset + bytes;
}

void Names::declare_shared(std::string_view name, int alignment, int bytes) {
  const int offset = rounded_up(code_.static_shared, alignment);
  shared_[name] = offset;
  code_.static_shared = offset + bytes;
}

void Names::declare_local(std::string_view name, int alignment, int bytes) {
  const int offset = rounded_up(code_.local_bytes, alignment);
  local_[name] = offset;
  code_.local_bytes = rounded_up(offset + bytes, kAlignment);
}

void Names::declare_dynamic_shared(std::string_view name) {
  code_.static_shared = rounded_up(code_.static_shared, kAlignment);
  shared_[name] = code_.static_shared;
}

std::optional<Register> Names::find(std::string_view name) {
  const auto known = registers_.find(name);
  if (known != registers_.end()) return known->second;
  const std::size_t digits = name.find_last_not_of("0123456789") + 1;
  const auto range = ranges_.find(name.substr(0, digits));
  if (range == ranges_.end() || digits == name.size()) return std::nullopt;
  if (integer(name.substr(digits)) >= range->second.count)
    throw SyntaxError("undeclared register " + std::string(name));
  return add(name, range->second.kind);
}

Slot Names::destination(std::string_view name, Kind kind) {
  const auto found = find(name);
  if (!found) throw SyntaxError("no register: " + std::string(name));
  if (found->kind != kind) throw SyntaxError("register of another size: " + std::string(name));
  return found->slot;
}

Slot Names::source(std::string_view operand, Kind kind) {
  if (const auto found = find(operand)) {
    if (found->kind != kind) throw SyntaxError("register of another size: " + std::string(operand));
    return found->slot;
  }
  if (const auto slot = special(operand)) {
    if (kind != Kind::Narrow) throw SyntaxError("special register of another size");
    return *slot;
  }
  if (const auto value = literal(operand)) return constant(*value, kind);
  const auto shared = shared_.find(operand);
  if (shared != shared_.end()) return constant(static_cast<std::uint64_t>(shared->second), kind);
  const auto parameter = parameters_.find(operand);
  if (parameter != parameters_.end())
    return constant(static_cast<std::uint64_t>(parameter->second), kind);
  throw SyntaxError("unknown operand " + std::string(operand));
}

std::optional<std::int64_t> Names::local_offset(std::string_view name) const {
  const auto found = local_.find(name);
  if (found == local_.end()) return std::nullopt;
  return found->second;
}

void Names::set_address(Instruction& i, std::string_view operand) {
  if (operand.empty() || operand.front() != '[')
    throw SyntaxError("no address: " + std::string(operand));
  const auto parts = split(operand.substr(1, operand.rfind(']') - 1), '+');
  const std::string_view base = parts[0];
  i.immediate = parts.size() > 1 ? integer(parts[1]) : 0;
  i.from[0] = kNoSlot;
  if (const auto found = find(base)) {
    i.from[0] = found->slot;
    i.wide_address = found->kind == Kind::Wide;
  } else if (const auto parameter = parameters_.find(base); parameter != parameters_.end()) {
    i.immediate += parameter->second;
    i.space = Space::Parameter;
  } else if (const auto shared = shared_.find(base); shared != shared_.end()) {
    i.immediate += shared->second;
  } else {
    throw SyntaxError("unknown address " + std::string(base));
  }
}

Slot Names::constant(std::uint64_t value, Kind kind) {
  if (kind == Kind::Predicate) value = value != 0 ? kAllLanes : 0;
  if (kind != Kind::Wide) value = (value & 0xFFFFFFFFu) * 0x100000001u;  // two cells
  const auto [place, is_new] = constants_.try_emplace({value, kind}, kNoSlot);
  if (is_new) {
    place->second = new_slot();
    code_.constants.push_back({place->second, value});
  }
  return place->second;
}

std::optional<Slot> Names::special(std::string_view name) {
  static const std::unordered_map<std::string_view, Special> specials = {
      {"%tid.x", Special::ThreadX},  {"%tid.y", Special::ThreadY},  {"%tid.z", Special::ThreadZ},
      {"%ntid.x", Special::SizeX},   {"%ntid.y", Special::SizeY},   {"%ntid.z", Special::SizeZ},
      {"%ctaid.x", Special::BlockX}, {"%ctaid.y", Special::BlockY}, {"%ctaid.z", Special::BlockZ},
      {"%nctaid.x", Special::GridX}, {"%nctaid.y", Special::GridY}, {"%nctaid.z", Special::GridZ},
      {"%laneid", Special::Lane},    {"%warpid", Special::Warp},
  };
  const auto found = specials.find(name);
  if (found == specials.end()) return std::nullopt;
  const auto [place, is_new] = code_.specials.try_emplace(found->second, kNoSlot);
  if (is_new) place->second = new_slot();
  return place->second;
}

}  // namespace dfengine::ptx
