// One picture that shows what augmentation does to others.
#pragma once

#include "engine/data/loader.h"

namespace dfengine {

// A row per sample, in the order given: the prepared picture, then `variants` augmented ones as
// epochs 0, 1, ... of training would see them; 4 white pixels between. Throws UsageError for no
// samples, variants below 1 or a sheet of over 100 million pixels, DataError for a bad picture.
Image contact_sheet(const Dataset& dataset, const LoaderOptions& how, Index variants);

}  // namespace dfengine
