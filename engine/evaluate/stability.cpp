#include "engine/evaluate/stability.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

Pixels pixels_of(Image& image) {
  return {image.rgb.data(), image.h, image.w};
}

// Without 4 % of each side at each border, but at least one pixel.
Image without_borders(const Image& picture) {
  constexpr Index kPart = 25;
  const auto border = [](Index side) {
    return std::min(std::max(side / kPart, Index{1}), (side - 1) / 2);
  };
  const Index top = border(picture.h), left = border(picture.w);
  Image cut{picture.h - 2 * top, picture.w - 2 * left, {}};
  cut.rgb.resize(static_cast<std::size_t>(cut.h * cut.w * 3));
  cut_window(picture, {top, left, cut.h, cut.w}, cut.rgb.data());
  return cut;
}

}  // namespace

std::vector<Image> stability_forms(const Image& picture, PerturbScratch& scratch) {
  constexpr int kQuality = 75;
  constexpr double kSmaller = 0.75;
  Image compressed = picture, rescaled = picture;
  jpeg_recompress(pixels_of(compressed), kQuality, scratch);
  rescale(pixels_of(rescaled), kSmaller, scratch);
  return {picture, std::move(compressed), std::move(rescaled), without_borders(picture)};
}

double unsure_margin(std::span<const double> logit, std::span<const int> label, double threshold,
                     double errors) {
  if (logit.size() != label.size() || logit.empty())
    throw ShapeError("unsure answers: validation logits and labels, as many of both");
  if (!(errors >= 0 && errors < 1))
    throw UsageError(fmt::format("--unsure-errors {:g} is not in [0, 1)", errors));
  struct Answer {
    double distance;
    bool wrong;
  };
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < logit.size(); ++i)
    answers.push_back({std::abs(logit[i] - threshold), (logit[i] >= threshold) != (label[i] == 1)});
  std::ranges::sort(answers, {}, &Answer::distance);
  double wrong = 0;
  for (const Answer& a : answers) wrong += a.wrong ? 1 : 0;
  // From the nearest on: what is left behind each distance.
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const bool new_distance = i == 0 || answers[i].distance > answers[i - 1].distance;
    const auto left = static_cast<double>(answers.size() - i);
    if (new_distance && wrong <= errors * left) return i == 0 ? 0 : answers[i].distance;
    wrong -= answers[i].wrong ? 1 : 0;
  }
  return std::numeric_limits<double>::infinity();
}

}  // namespace dfengine
