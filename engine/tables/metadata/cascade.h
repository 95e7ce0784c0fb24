// Metadata as a first filter: the rows that it decides need no picture to be decoded.
#pragma once

#include <span>
#include <vector>

#include "engine/tables/metadata/metadata_model.h"

namespace dfengine {

// The greatest error rate that is compatible with `errors` wrong ones of n: the rate at which so
// few or fewer errors have probability `risk` (Clopper and Pearson 1934, one-sided). It is 1 for n
// = 0. Throws UsageError unless 0 <= errors <= n and 0 < risk < 1.
double error_upper_bound(Index errors, Index n, double risk);

// The share of wrong answers on each side that holds with this confidence, both sides together.
inline constexpr double kCascadeConfidence = 0.95;

// Gives the thresholds that decide the most rows while, with kCascadeConfidence, at most
// `max_error` of the rows called real are fake and at most `max_error` of those called fake are
// real, among rows drawn as these were.
//
// Rows below probability .5 may be called real, the others fake. On each side the surest 10 % of
// its rows are tried, then 20 % and so on to 100 % (whole ties only), from the first try that is
// large enough to pass at all. A try passes if its error_upper_bound at half the risk, (1 -
// confidence) / 2, is within the budget. The first that fails ends the side, and the last that
// passed is taken. Tests in an order fixed beforehand, up to the first failure, share one risk
// (Angelopoulos et al. 2021, "Learn then Test", fixed-sequence testing). A side where none passes
// decides nothing.
//
// prob [n] of fake, label [n], of rows that the metadata model was not fitted on. Throws UsageError
// for max_error outside (0, .5), ShapeError when the sizes differ.
Cascade choose_cascade(std::span<const double> prob, std::span<const int> label, double max_error);

// A cascade's answers on labelled rows.
struct CascadeReport {
  Index rows = 0;
  Index called_real = 0, called_fake = 0;  // by metadata
  Index errors = 0;                        // among the rows so called
  // In seconds for each picture.
  double metadata_seconds = 0, image_seconds = 0;

  double decided() const;  // the share of the rows that metadata decides
  double seconds() const;  // of the cascade, for each picture
};
CascadeReport evaluate_cascade(const Cascade& cascade, std::span<const double> prob,
                               std::span<const int> label);

// The logit of fake by the cascade: metadata's where it decides, else the image's. All are [n].
std::vector<double> cascade_logits(const Cascade& cascade, std::span<const double> metadata,
                                   std::span<const double> image);

}  // namespace dfengine
