// The pickle machine: a stack of references to values, marks, and a memo.
#include "weights/torch/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "kernels/base/error.h"
#include "weights/tensor_file.h"

namespace dfengine::weights {
namespace {

// Bounds time, stack, memo and values together. A state dict of MobileNetV2 takes about 10,000.
constexpr std::size_t kMaxOperations = 1'000'000;
constexpr std::size_t kMaxNames = 1 << 24;  // bytes
constexpr unsigned char kFirstProtocol = 2, kLastProtocol = 5;
constexpr unsigned char kProto = 0x80, kStop = '.';  // opcodes that begin and end a pickle

class Machine {
 public:
  Machine(std::span<const std::byte> file, std::size_t begin, const std::string& name)
      : file_(reinterpret_cast<const char*>(file.data()), file.size()),
        at_(begin),
        start_(begin),
        name_(name) {}

  Pickle run() {
    if (take<std::uint8_t>() != kProto) fail("is no pickle of protocol 2 or later");
    const auto protocol = take<std::uint8_t>();
    if (protocol < kFirstProtocol || protocol > kLastProtocol)
      fail(fmt::format("has the unknown pickle protocol {}", protocol));
    for (std::size_t operations = 0; operations < kMaxOperations; ++operations) {
      start_ = at_;
      const auto opcode = take<std::uint8_t>();
      if (opcode == kStop) return finish();
      step(opcode);
    }
    fail(fmt::format("takes more than {} operations", kMaxOperations));
  }

 private:
  [[noreturn]] void fail(const std::string& cause) const {
    throw ModelFileError(fmt::format("{}: pickle: {}, at byte {}", name_, cause, start_));
  }

  std::string_view take_bytes(std::size_t count) {
    if (count > file_.size() - at_) fail("the file ends inside an operation; it is cut or damaged");
    const std::string_view bytes = file_.substr(at_, count);
    at_ += count;
    return bytes;
  }

  template <class T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string_view take_line() {
    const std::size_t end = file_.find('\n', at_);
    if (end == std::string_view::npos) fail("the file ends inside a name; it is cut or damaged");
    const std::string_view line = take_bytes(end - at_);
    ++at_;
    return line;
  }

  // Stack -----------------------------------------------------------------------------------------
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleRef top() const {
    if (stack_.size() <= floor()) fail("takes a value from an empty stack");
    return stack_.back();
  }

  PickleRef pop() {
    const PickleRef ref = top();
    stack_.pop_back();
    return ref;
  }

  std::vector<PickleRef> pop_last(std::size_t count) {
    if (stack_.size() - floor() < count) fail("takes a value from an empty stack");
    std::vector<PickleRef> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }

  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) fail("has no mark to go back to");
    std::vector<PickleRef> items = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  PickleValue& push(PickleKind kind) {
    stack_.push_back(static_cast<PickleRef>(values_.size()));
    PickleValue& value = values_.emplace_back();
    value.kind = kind;
    value.offset = start_;
    return value;
  }

  void push_number(PickleKind kind, std::int64_t number) { push(kind).number = number; }
  void push_text(std::size_t size) { push(PickleKind::Text).text = take_bytes(size); }
  void push_items(PickleKind kind, std::vector<PickleRef> items) {
    push(kind).items = std::move(items);
  }

  // Operations ------------------------------------------------------------------------------------
  Pickle finish() {
    if (stack_.size() != 1 || !marks_.empty()) {
      fail(fmt::format("stops with {} values and {} marks on the stack", stack_.size(),
                       marks_.size()));
    }
    return {std::move(values_), stack_[0], at_, std::move(names_)};
  }

  void push_long(std::size_t size) {
    const std::string_view bytes = take_bytes(size);
    if (bytes.size() > sizeof(std::int64_t)) {
      push(PickleKind::BigInt).text = bytes;
      return;
    }
    const bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
    std::int64_t number = negative ? -1 : 0;
    std::memcpy(&number, bytes.data(), bytes.size());
    push_number(PickleKind::Int, number);
  }

  void push_global(std::string_view module, std::string_view name) {
    // Two bytes of the file may name a long text again.
    named_ += module.size() + name.size();
    if (named_ > kMaxNames) fail("has too many names");
    push(PickleKind::Global).text = names_.emplace_back(fmt::format("{}.{}", module, name));
  }

  void push_stack_global() {
    const auto names = pop_last(2);
    push_global(values_[names[0]].text, values_[names[1]].text);
  }

  void call() {
    const PickleRef arguments = pop();
    const PickleRef function = pop();
    if (values_[arguments].kind != PickleKind::Tuple) fail("calls with what is no tuple");
    push_items(PickleKind::Object, {function, arguments});
  }

  // An object that is made from a class and the values since the mark.
  void call_since_mark(PickleRef function, std::vector<PickleRef> arguments) {
    const auto tuple = static_cast<PickleRef>(values_.size());
    push_items(PickleKind::Tuple, std::move(arguments));
    stack_.pop_back();
    push_items(PickleKind::Object, {function, tuple});
  }

  // protocol 2's class with keyword arguments
  void call_with_keywords() {
    const PickleRef keywords = pop();
    call();
    values_[top()].state = keywords;
  }

  void build() {
    const PickleRef state = pop();
    PickleValue& object = values_[top()];
    if (object.kind == PickleKind::Object) object.state = state;
  }

  void add(std::vector<PickleRef> items, bool pairs) {
    PickleValue& target = values_[top()];
    // A class of one's own may be a dict or a list.
    const bool fits = target.kind == PickleKind::Object ||
                      target.kind == (pairs ? PickleKind::Dict : PickleKind::List);
    if (!fits) fail(pairs ? "sets items of what is no dict" : "appends to what is no list");
    if (pairs && items.size() % 2 != 0) fail("has a key without a value");
    if (!pairs && target.kind == PickleKind::Object) return;  // its items are keys and values
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  void add_to_set() {
    const auto items = pop_to_mark();
    if (values_[top()].kind != PickleKind::Set) fail("adds to what is no set");
    auto& of = values_[top()].items;
    of.insert(of.end(), items.begin(), items.end());
  }

  std::size_t take_size() {
    const auto size = take<std::uint64_t>();
    if (size > file_.size()) fail("the file ends inside an operation; it is cut or damaged");
    return static_cast<std::size_t>(size);
  }

  void get(std::uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end())
      fail(fmt::format("takes number {} from the memo, which is not there", index));
    stack_.push_back(found->second);
  }

  void step(unsigned char opcode) {
    if (!step_value(opcode) && !step_stack(opcode)) {
      fail(fmt::format("opcode 0x{:02x} is none that torch.save needs", opcode));
    }
  }

  // Operations that push what follows in the file, under their names in pickletools.py.
  bool step_value(unsigned char opcode) {
    switch (opcode) {
      case 'N':  // NONE
        return push(PickleKind::None), true;
      case 0x88:  // NEWTRUE
        return push_number(PickleKind::Bool, 1), true;
      case 0x89:  // NEWFALSE
        return push_number(PickleKind::Bool, 0), true;
      case 'J':  // BININT
        return push_number(PickleKind::Int, take<std::int32_t>()), true;
      case 'K':  // BININT1
        return push_number(PickleKind::Int, take<std::uint8_t>()), true;
      case 'M':  // BININT2
        return push_number(PickleKind::Int, take<std::uint16_t>()), true;
      case 0x8a:  // LONG1
        return push_long(take<std::uint8_t>()), true;
      case 0x8b:  // LONG4
        return push_long(take<std::uint32_t>()), true;
      case 'G':  // BINFLOAT
        return take<double>(), push(PickleKind::Float), true;
      case 'U':   // SHORT_BINSTRING
      case 'C':   // SHORT_BINBYTES
      case 0x8c:  // SHORT_BINUNICODE
        return push_text(take<std::uint8_t>()), true;
      case 'T':  // BINSTRING
      case 'B':  // BINBYTES
      case 'X':  // BINUNICODE
        return push_text(take<std::uint32_t>()), true;
      case 0x8d:  // BINUNICODE8
      case 0x8e:  // BINBYTES8
      case 0x96:  // BYTEARRAY8
        return push_text(take_size()), true;
      case ')':  // EMPTY_TUPLE
        return push(PickleKind::Tuple), true;
      case ']':  // EMPTY_LIST
        return push(PickleKind::List), true;
      case '}':  // EMPTY_DICT
        return push(PickleKind::Dict), true;
      case 0x8f:  // EMPTY_SET
        return push(PickleKind::Set), true;
      case 'c': {  // GLOBAL
        const std::string_view module = take_line();
        return push_global(module, take_line()), true;
      }
      case 0x95:  // FRAME: how many bytes follow in one piece
        return take<std::uint64_t>(), true;
      case 'h':  // BINGET
        return get(take<std::uint8_t>()), true;
      case 'j':  // LONG_BINGET
        return get(take<std::uint32_t>()), true;
      default:
        return false;
    }
  }

  // Operations on what the stack holds.
  bool step_stack(unsigned char opcode) {
    switch (opcode) {
      case '(':  // MARK
        return marks_.push_back(stack_.size()), true;
      case 't':  // TUPLE
        return push_items(PickleKind::Tuple, pop_to_mark()), true;
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        return push_items(PickleKind::Tuple, pop_last(opcode - 0x84u)), true;
      case 'a':  // APPEND
        return add(pop_last(1), false), true;
      case 'e':  // APPENDS
        return add(pop_to_mark(), false), true;
      case 's':  // SETITEM
        return add(pop_last(2), true), true;
      case 'u':  // SETITEMS
        return add(pop_to_mark(), true), true;
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ
        return call(), true;
      case 0x92:  // NEWOBJ_EX
        return call_with_keywords(), true;
      case 'o': {  // OBJ
        std::vector<PickleRef> items = pop_to_mark();
        if (items.empty()) fail("makes an object of no class");
        const PickleRef function = items.front();
        items.erase(items.begin());
        return call_since_mark(function, std::move(items)), true;
      }
      case 0x93:  // STACK_GLOBAL
        return push_stack_global(), true;
      case 'b':  // BUILD
        return build(), true;
      case 0x90:  // ADDITEMS
        return add_to_set(), true;
      case 0x91:  // FROZENSET
        return push_items(PickleKind::Set, pop_to_mark()), true;
      case '0':  // POP
        return stack_.size() > floor() ? void(stack_.pop_back()) : void(pop_to_mark()), true;
      case '1':  // POP_MARK
        return pop_to_mark(), true;
      case '2':  // DUP
        return stack_.push_back(top()), true;
      case 0x94:  // MEMOIZE
        return void(memo_[static_cast<std::uint32_t>(memo_.size())] = top()), true;
      case 'Q':  // BINPERSID
        return push_items(PickleKind::Persistent, pop_last(1)), true;
      case 'q':  // BINPUT
        return memo_[take<std::uint8_t>()] = top(), true;
      case 'r':  // LONG_BINPUT
        return memo_[take<std::uint32_t>()] = top(), true;
      default:
        return false;
    }
  }

  std::string_view file_;
  std::size_t at_;
  std::size_t start_;  // of the current operation
  const std::string& name_;
  std::vector<PickleValue> values_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleRef> memo_;
  std::deque<std::string> names_;
  std::size_t named_ = 0;
};

}  // namespace

Pickle parse_pickle(std::span<const std::byte> file, std::size_t begin,
                    const std::string& name_for_errors) {
  return Machine(file, begin, name_for_errors).run();
}

}  // namespace dfengine::weights
