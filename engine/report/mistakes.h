// The pictures about which a model was most sure and wrong.
#pragma once

#include "engine/data/sets/dataset.h"
#include "engine/evaluate/grad_cam.h"
#include "engine/report/html.h"

namespace dfengine::report {

struct Mistake {
  std::size_t sample = 0;
  double prob = 0;  // of fake
  int label = 0;    // the truth
};

// At most `most` of each class, first reals called fake, then fakes called real. The surest come
// first, and equal ones in the order of the data set.
std::vector<Mistake> surest_mistakes(std::span<const double> prob, std::span<const int> label,
                                     double threshold, std::size_t most);

// The side of one half of a thumbnail, in pixels.
inline constexpr Index kThumbnail = 160;

// Gives each mistake a picture: what the network saw, and beside it the evidence for the class that
// it called, where there is a `cam`. Throws DataError for a picture that cannot be read.
std::vector<Picture> mistake_pictures(const std::vector<Mistake>& mistakes, const Dataset& dataset,
                                      const Model& model, GradCam* cam);

}  // namespace dfengine::report
