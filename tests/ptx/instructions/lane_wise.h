// Instructions that do the same for each lane and nothing else: a function of the operands.
#pragma once

#include <algorithm>
#include <bit>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "tests/ptx/machine.h"

namespace dfengine::ptx {

// What the decoder must know of such an instruction.
struct LaneWise {
  Action action = nullptr;
  Kind to = Kind::Narrow;
  std::array<Kind, 4> from{};
  int sources = 0;
};
using LaneWiseTable = std::unordered_map<std::string, LaneWise>;

// By its whole name, as "add.s32"; null where there is none.
const LaneWise* find_lane_wise(const std::string& name);

void add_integers(LaneWiseTable& table);
void add_floats(LaneWiseTable& table);
void add_comparisons(LaneWiseTable& table);
void add_conversions(LaneWiseTable& table);

template <class T>
constexpr Kind kKind = std::is_same_v<T, bool> ? Kind::Predicate
                       : sizeof(T) == 8        ? Kind::Wide
                                               : Kind::Narrow;
template <class T>
using Cell = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

// The value that a cell holds in its low bits.
template <class T>
T value_of(Cell<T> cell) {
  if constexpr (sizeof(T) == sizeof(Cell<T>)) {
    return std::bit_cast<T>(cell);
  } else {
    return static_cast<T>(cell);
  }
}

template <class T>
Cell<T> cell_of(T value) {
  if constexpr (sizeof(T) == sizeof(Cell<T>)) {
    return std::bit_cast<Cell<T>>(value);
  } else {
    return static_cast<std::make_unsigned_t<T>>(value);
  }
}

// Where an operand's values come from.
template <class T>
struct Source {
  const Cell<T>* cells;
  Source(Warp& warp, Slot slot) : cells(warp.cells<Cell<T>>(slot)) {}
  T operator[](int lane) const { return value_of<T>(cells[lane]); }
};
template <>
struct Source<bool> {
  Lanes lanes;
  Source(Warp& warp, Slot slot) : lanes(warp.predicate(slot)) {}
  bool operator[](int lane) const { return (lanes >> lane & 1) != 0; }
};

template <auto F, class D, class... S, std::size_t... I>
void run_lane_wise(Warp& warp, const Instruction& i, Lanes mask, std::index_sequence<I...>) {
  const std::tuple<Source<S>...> sources{Source<S>(warp, i.from[I])...};
  if constexpr (std::is_same_v<D, bool>) {
    Lanes result = 0;
    for_lanes(mask, [&](int lane) {
      result |= static_cast<Lanes>(F(std::get<I>(sources)[lane]...)) << lane;
    });
    Lanes& to = warp.predicate(i.to[0]);
    to = (to & ~mask) | result;
  } else {
    Cell<D>* const to = warp.cells<Cell<D>>(i.to[0]);
    for_lanes(mask, [&](int lane) { to[lane] = cell_of<D>(F(std::get<I>(sources)[lane]...)); });
  }
}

template <auto F, class D, class... S>
LaneWise of_signature(D (*)(S...)) {
  return {[](Warp& warp, const Instruction& i, Lanes mask) {
            run_lane_wise<F, D, S...>(warp, i, mask, std::index_sequence_for<S...>());
          },
          kKind<D>,
          {kKind<S>...},
          sizeof...(S)};
}

// The instruction that computes F, a lambda that captures nothing and names its types.
template <auto F>
LaneWise lane_wise() {
  return of_signature<F>(+F);
}

}  // namespace dfengine::ptx
