// One picture that shows what augmentation does to others.
#pragma once

#include "engine/data/loader.h"

namespace dfengine {

// Each sample has a row, in the order given: the prepared picture, then `variants` augmented ones
// as epochs 0, 1, ... of training would see them, with 4 white pixels between. Throws UsageError
// when there are no samples, variants is below 1 or the sheet has over 100 million pixels, and
// DataError for a bad picture.
Image contact_sheet(const Dataset& dataset, const LoaderOptions& how, Index variants);

}  // namespace dfengine
