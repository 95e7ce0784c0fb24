#include "engine/model/predictor.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

// Pictures whose results wait in the backend's memory together.
constexpr Index kMostResults = 4096;

const char* name_of(Predictor::Output output) {
  return output == Predictor::Output::Pooled ? "pooled" : "logits";
}

Graph graph_for(const Model& model, const Backend& backend, Predictor::Output output) {
  if (!model.config.quantization.empty() && backend.element() != Element::F32)
    throw UsageError(
        "a quantized model computes in 8-bit integers, on the CPU alone: take device cpu, and "
        "leave "
        "precision out");
  if (output == Predictor::Output::Logits && model.config.head == Head::None)
    throw UsageError("this model has no head, so no logits: only pooled features");
  if (output == Predictor::Output::Pooled && model.config.members > 1)
    throw UsageError(
        "an ensemble has no pooled features, only logits: take one of its models for them");
  return up_to(model.network.graph, name_of(output));
}

}  // namespace

Predictor::Predictor(const Model& model, const Backend& backend, Output output)
    : model_(model),
      backend_(backend),
      output_(name_of(output)),
      graph_(graph_for(model, backend, output)),
      parameters_(graph_, model.parameters, backend),
      session_(graph_, {model.network.image}, {}, parameters_),
      image_bytes_(model.network.image.bytes()) {
  width_ = graph_.infer({&model.network.image, 1})[at(graph_.output(output_))].shape.c;
}

void Predictor::reserve(Index n) {
  const Index batch = backend_.inference_batch(n);
  session_.reserve(batch);
  if (beside(n) > 0)
    while (static_cast<int>(lanes_.size()) < backend_.lanes()) lanes_.push_back(session_.lane(1));
  if (batch > fed_) {
    feed_ = backend_.make_feed(batch * image_bytes_);
    fed_ = batch;
  }
  if (const Index wanted = std::min(n, kMostResults); wanted > results_room_) {
    results_ = backend_.allocate(wanted * result_bytes());
    results_room_ = wanted;
  }
}

void Predictor::refresh() {
  parameters_.upload();
  session_.prepare();
}

void Predictor::launch(Session::Bound& bound) {
  session_.launch(bound, [this, &bound] { bound.binding->forward({backend_.queue()}); });
}

void Predictor::run(const std::uint8_t* images, Index n, float* out) {
  for (Index done = 0; done < n;) {
    const Index count = std::min(kMostResults, n - done);
    run_together(images + done * image_bytes_, count, out + done * width_);
    done += count;
  }
}

// How many of n pictures have a lane each. The last few go one after the other, with all threads at
// each, where more than half of the lanes would be idle.
Index Predictor::beside(Index n) const {
  const Index lanes = backend_.lanes(), rest = n % lanes;
  return lanes == 1 ? 0 : 2 * rest > lanes ? n : n - rest;
}

void Predictor::forward(Index n, const Move& put, const Move& take) {
  reserve(n);
  Index done = beside(n);
  backend_.side_by_side(done, [&](Index i, int lane, const Queue& queue) {
    const Binding& binding = *lanes_[at(lane)].binding;
    put(binding.input("images"), i, 1);
    binding.forward({queue});
    take(binding.output(output_), i, 1);
  });
  while (done < n) {
    const Index batch = backend_.inference_batch(n - done), count = std::min(batch, n - done);
    reserve(batch);
    Session::Bound& bound = session_.bound(batch);
    put(bound.binding->input("images"), done, count);
    launch(bound);
    take(bound.binding->output(output_), done, count);
    done += count;
  }
}

// Results wait in the backend's memory until the last batch is queued: fetching one would wait for
// it, and the next batch could not be on its way meanwhile.
void Predictor::run_together(const std::uint8_t* images, Index n, float* out) {
  const auto put = [&](Place input, Index first, Index count) {
    const Feed::Part part{images + first * image_bytes_, input.address, count * image_bytes_};
    feed_->put(std::span(&part, 1));
  };
  const auto take = [&](Place output, Index first, Index count) {
    backend_.copy(results_.get() + first * result_bytes(), output.address, count * result_bytes());
  };
  forward(n, put, take);
  backend_.download(out, results_.get(), n * result_bytes());
  backend_.synchronize();
}

void Predictor::queue(const void* images, Index n) {
  const auto put = [&](Place input, Index first, Index count) {
    backend_.copy(input.address, ConstPlace{images}.as<std::byte>() + first * image_bytes_,
                  count * image_bytes_);
  };
  forward(n, put, [](Place, Index, Index) {});
}

Index Predictor::bytes() const {
  Index lanes = 0;
  for (const Session::Lane& lane : lanes_) lanes += lane.bytes;
  return parameters_.bytes() + session_.bytes() + lanes + (feed_ ? feed_->bytes() : 0) +
         results_room_ * result_bytes();
}

}  // namespace dfengine
