// Python pickles of protocols 2 to 5 as inert values: nothing is looked up, called or executed.
// Opcodes: CPython's Lib/pickletools.py. The reader knows those that Python's pickler writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dfengine::weights {

enum class PickleKind {
  None,
  Bool,
  Int,
  BigInt,
  Float,
  Text,
  Tuple,
  List,
  Set,
  Dict,
  Global,
  Object,
  Persistent
};

// Position in Pickle::values. Values may refer to each other in circles: never walk them without a
// bound.
using PickleRef = std::uint32_t;

struct PickleValue {
  PickleKind kind = PickleKind::None;
  std::size_t offset = 0;   // of its opcode in the file
  std::int64_t number = 0;  // Bool, Int
  // The bytes of a Text (or of a bytes object), of a BigInt (two's complement, little-endian), or
  // "module.name" of a Global.
  std::string_view text = {};
  // The items of a Tuple, List or Set; key, value, key, value, ... of a Dict; the id of a
  // Persistent. An Object is a call that is not made: it has what would be called, the arguments,
  // then keys and values that are set on it as on a Dict.
  std::vector<PickleRef> items = {};
  // Of an Object: what its attributes would be set from.
  std::optional<PickleRef> state = {};
};

struct Pickle {
  std::vector<PickleValue> values;
  PickleRef root = 0;
  std::size_t end = 0;  // first byte after the pickle

  const PickleValue& operator[](PickleRef ref) const { return values[ref]; }

  // The names of globals; a deque, so that views of them stay.
  std::deque<std::string> names;
};

// Reads the pickle that begins at byte `begin` of `file`. The values hold views into `file`, which
// must outlive them. Whatever a pickle names is a Global, however harmful it would be in Python.
// Throws ModelFileError with file, offset and cause: for opcodes we do not know, a stack that does
// not fit, a cut file, more than a million operations.
Pickle parse_pickle(std::span<const std::byte> file, std::size_t begin,
                    const std::string& name_for_errors);

}  // namespace dfengine::weights
