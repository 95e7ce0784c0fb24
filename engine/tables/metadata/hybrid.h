// Stacking: finds whether metadata adds to what the image model says, and how much.
#pragma once

#include "engine/tables/metadata/metadata_model.h"

namespace dfengine {

struct HybridFit {
  HybridModel model;
  // The mean log loss in nats of rows scored by fits on the other folds: of the image's logit
  // alone, and with the metadata.
  double image_loss = 0, hybrid_loss = 0;
};

// Fits a logistic regression on the image's logit and the columns' features. The image's logit,
// divided by its deviation, has penalty 1; the metadata's penalty is the best of five by
// cross-validated log loss. Metadata is used only if it lowers this loss by more than a standard
// error of the rows' paired differences (Breiman et al. 1984, "Classification and Regression
// Trees", 3.4.3). Otherwise the model is the image's score, unchanged, so that noise costs nothing.
//
// The image model must not have been trained on these rows. label [rows], image_logit [rows].
// Throws DataError for fewer than two rows of a class, else as fit_metadata.
HybridFit fit_hybrid(const CsvTable& table, const std::vector<int>& label,
                     const std::vector<double>& image_logit,
                     const std::vector<std::string>& columns, const std::string& name);

}  // namespace dfengine
