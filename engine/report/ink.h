// Colours of charts and pages.
#pragma once

#include <cstddef>
#include <iterator>

namespace dfengine::report {

// Colours by meaning. The two classes keep theirs on every page.
enum class Ink { Real, Fake, Muted, A, B, C, D, E, F };

// The colour of the i-th of several runs. It repeats after six.
constexpr Ink ink_of(std::size_t i) {
  constexpr Ink kRuns[] = {Ink::A, Ink::B, Ink::C, Ink::D, Ink::E, Ink::F};
  return kRuns[i % std::size(kRuns)];
}

}  // namespace dfengine::report
