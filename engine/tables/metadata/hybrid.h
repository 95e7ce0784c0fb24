// Stacking: when does metadata add to what the image model says, and how much?
#pragma once

#include "engine/tables/metadata/metadata_model.h"

namespace dfengine {

struct HybridFit {
  HybridModel model;
  // Mean log loss in nats of rows scored by fits on the other folds: the image's logit alone, and
  // with the metadata.
  double image_loss = 0, hybrid_loss = 0;
};

// A logistic regression on the image's logit and the columns' features. The image's logit, divided
// by its deviation, has penalty 1; the metadata's penalty is the best of five by cross-validated
// log loss. Metadata is used at all only if it lowers that loss by more than a standard error of
// the rows' paired differences (Breiman et al. 1984, "Classification and Regression Trees", 3.4.3);
// else the model is the image's score, unchanged: noise costs nothing.
// table, label, image_logit [rows]: rows that the image model was not trained on. Throws DataError
// for fewer than two rows of a class, else as fit_metadata.
HybridFit fit_hybrid(const CsvTable& table, const std::vector<int>& label,
                     const std::vector<double>& image_logit,
                     const std::vector<std::string>& columns, const std::string& name);

}  // namespace dfengine
