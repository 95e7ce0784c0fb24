// Inference over prepared pictures: batch norm folded, memory planned, any number of pictures a
// call.
#pragma once

#include "engine/model/model.h"
#include "engine/runtime/session.h"

namespace dfengine {

class Predictor {
 public:
  // What a run returns: pooled features [C] or logits per picture.
  enum class Output { Pooled, Logits };

  // model and backend must outlive the predictor. Logits need a head (UsageError).
  Predictor(const Model& model, const Backend& backend, Output output);

  // Takes the memory that runs of up to n pictures need, which the first such run would do.
  void reserve(Index n);
  // Call after the model's parameters changed.
  void refresh();
  const Backend& backend() const { return backend_; }
  // Values per picture.
  Index width() const { return width_; }
  const Model& model() const { return model_; }
  Index input_size() const { return model_.config.input_size; }
  // images [n, size, size, 3] uint8 RGB, out [n, width()]; waits.
  void run(const std::uint8_t* images, Index n, float* out);
  // Queues the same on images in the backend's memory, and leaves the results there: for
  // measurements.
  void queue(const void* images, Index n);
  // Bytes it holds for its parameters, activations and prepared weights.
  Index bytes() const;

 private:
  Index result_bytes() const { return width_ * kFloatBytes; }
  void launch(Session::Bound& bound);
  // Puts count pictures from `first` on into a plan's input, and takes the results from its output.
  using Move = std::function<void(Place place, Index first, Index count)>;
  void forward(Index n, const Move& put, const Move& take);
  Index beside(Index n) const;
  void run_together(const std::uint8_t* images, Index n, float* out);

  const Model& model_;
  const Backend& backend_;
  std::string output_;
  Graph graph_;
  ParameterBlock parameters_;
  Session session_;
  std::vector<Session::Lane> lanes_;
  Index width_, image_bytes_;
  std::unique_ptr<Feed> feed_;
  Index fed_ = 0;  // pictures that the feed has room for
  OwnedMemory results_;
  Index results_room_ = 0;  // pictures
};

}  // namespace dfengine
