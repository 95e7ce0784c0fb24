// The pictures a model was most sure about and wrong.
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

// At most `most` of each class, the surest first; equal ones in the order of the data set. First
// reals called fake, then fakes called real.
std::vector<Mistake> surest_mistakes(std::span<const double> prob, std::span<const int> label,
                                     double threshold, std::size_t most);

// Side in pixels of one half of a thumbnail.
inline constexpr Index kThumbnail = 160;

// One picture each: what the network saw, and beside it the evidence for the class it called.
// Throws DataError for a picture that cannot be read.
std::vector<Picture> mistake_pictures(const std::vector<Mistake>& mistakes, const Dataset& dataset,
                                      const Model& model, const GradCam& cam);

}  // namespace dfengine::report
