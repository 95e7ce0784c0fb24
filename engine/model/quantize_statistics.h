// What quantization knows of a convolution's result: each channel's range and mean, how channels
// are brought to one scale, and how often which values occur then.
#pragma once

#include <vector>

#include "engine/model/calibration.h"
#include "kernels/base/enum_names.h"

namespace dfengine {

// From where to where a convolution's result is represented; what lies beyond is cut.
// MinMax: all that was seen. Percentile: all but a ten-thousandth at either end. Mse: where the
// mean squared error is least.
enum class RangeRule { MinMax, Percentile, Mse };
template <>
inline constexpr auto enum_names<RangeRule> =
    names_for<RangeRule>("range", {{"min-max", RangeRule::MinMax},
                                   {"percentile", RangeRule::Percentile},
                                   {"mse", RangeRule::Mse}});

// Of one convolution's result y. What is represented is (y - shift) / factor.
struct ResultStatistics {
  std::vector<double> low, high, mean;  // [channels]
  std::vector<double> factor, shift;    // [channels]
  std::vector<double> histogram;        // counts, evenly from `bottom` to `top`
  double bottom = 0, top = 0;           // of what is represented; 0 lies between them
};

// Of every convolution, in the order of Calibration::convolutions(). Factors: of what only
// depthwise convolutions read, the channel's largest value, as they have a scale by channel anyway;
// of results without an activation that only pointwise convolutions read, the channel's range,
// which results that are added to each other share, and their shift is its middle. Else there is
// neither.
std::vector<ResultStatistics> statistics(Calibration& calibration, const std::uint8_t* images,
                                         Index n);

// Zero is represented exactly.
Quantization quantization_of(const ResultStatistics& of, RangeRule rule);

}  // namespace dfengine
