// What a training run begins with: its pictures, its model, and what that says of its making.
#pragma once

#include "engine/model/model.h"
#include "engine/train/options.h"

namespace dfengine {

// The pictures to train and validate on, and those that are held out. Throws DataError, of a
// resumed run with what to do where they were moved.
DataSource open_source(const TrainOptions& options, bool resumed);

// The network of options.weights where there are some, else one drawn from the seed, with a
// detector's head. Throws what load_model and the download throw, and UsageError for sizes out of
// range. native: the pictures' own side, which the network takes where the weights are no
// detector's and options name no size.
Model initial_model(const TrainOptions& options, std::optional<Index> native = std::nullopt);

// What a person should know of the weights that the model began with: its own remarks, and a
// warning where they were trained on pictures that this run validates on or holds out.
std::vector<std::string> remarks_of_weights(const Model& model, const DataOptions& data,
                                            const DataSource& source);

// JSON of the arguments a model file carries: those that decide what the model is.
std::string arguments_note(const TrainOptions& options);

}  // namespace dfengine
