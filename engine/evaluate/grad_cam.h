// Where in a picture a detector found what it says: Grad-CAM (Selvaraju et al. 2017,
// arXiv:1610.02391).
#pragma once

#include <vector>

#include "engine/data/pictures/image.h"
#include "engine/model/model.h"
#include "engine/runtime/session.h"

namespace dfengine {

// The class whose evidence is shown. The detector has one logit, of fake; that of real is its
// negative.
enum class Evidence { Real, Fake };

// values [h, w] >= 0 over the cells of the last feature map; all 0 where nothing speaks for the
// class.
struct EvidenceMap {
  Index h = 0, w = 0;
  std::vector<float> values;
};

// One picture's run through the network and back: the logit, the last feature map and the gradient
// of the logit by it.
struct GradCamRun {
  double logit = 0;  // of fake
  Shape map;         // [1, h, w, C]; of an ensemble with the channels of all members
  std::vector<float> features, gradients;

  // map = ReLU(sum_k alpha_k A_k): A = output of the last convolution behind its ReLU6, alpha_k =
  // the mean over the map of d logit / d A_k, negated for Evidence::Real.
  EvidenceMap evidence(Evidence evidence) const;
};

class GradCam {
 public:
  // model (a detector) and backend must outlive it; parameters must not change. Throws UsageError
  // for another model and for a backend that computes neither in float nor in bf16.
  GradCam(const Model& model, const Backend& backend);

  // image [size, size, 3], uint8 RGB, prepared as for a prediction.
  GradCamRun run(const std::uint8_t* image);

 private:
  const Model& model_;
  const Backend& backend_;
  ParameterBlock parameters_;
  Session session_;
};

// The map at h x w, bilinear between the cells' centres, the outer cells carried on to the edge.
std::vector<float> upsample(const EvidenceMap& map, Index h, Index w);

// The picture in gray under the map's colours, from blue (nothing) over yellow to red (the map's
// own maximum).
Image overlay(ImageView picture, const EvidenceMap& map);

}  // namespace dfengine
