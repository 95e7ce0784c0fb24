// Where in a picture a detector found what it says: Grad-CAM (Selvaraju et al. 2017,
// arXiv:1610.02391).
#pragma once

#include <memory>
#include <vector>

#include "engine/data/pictures/image.h"
#include "engine/model/model.h"
#include "engine/runtime/executor.h"

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

class GradCam {
 public:
  // model (a detector) and pool must outlive it; parameters must not change.
  GradCam(Model& model, ThreadPool& pool);

  // Runs the network on image [size, size, 3], uint8 RGB, prepared as for a prediction. Returns the
  // logit of fake.
  double run(const std::uint8_t* image) const;
  // Of the picture last run. map = ReLU(sum_k alpha_k A_k): A = output of the last convolution
  // behind its ReLU6, alpha_k = the mean over the map of d logit / d A_k, negated for
  // Evidence::Real.
  EvidenceMap map(Evidence evidence) const;

 private:
  // d logit / d pooled [C] at the pooled features of the last forward pass.
  std::vector<double> pooled_gradient() const;
  std::span<const float> parameter(const char* name) const;

  Model& model_;
  ThreadPool& pool_;
  Plan plan_;
  Memory arena_;
  std::unique_ptr<Executor> executor_;
};

// The map at h x w, bilinear between the cells' centres, the outer cells carried on to the edge.
std::vector<float> upsample(const EvidenceMap& map, Index h, Index w);

// The picture in gray under the map's colours, from blue (nothing) over yellow to red (the map's
// own maximum).
Image overlay(ImageView picture, const EvidenceMap& map);

}  // namespace dfengine
