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

Graph graph_for(const Model& model, Predictor::Output output) {
  if (output == Predictor::Output::Logits && model.config.head == Head::None)
    throw UsageError("this model has no head, so no logits: only pooled features");
  return up_to(model.network.graph, name_of(output));
}

}  // namespace

Predictor::Predictor(const Model& model, const Backend& backend, Output output)
    : model_(model),
      backend_(backend),
      output_(name_of(output)),
      graph_(graph_for(model, output)),
      parameters_(graph_, model.parameters, backend),
      session_(graph_, {model.network.image}, {}, parameters_),
      image_bytes_(model.network.image.bytes()) {
  const Index smallest = backend.inference_batch(1);
  session_.reserve(smallest);
  const Plan& plan = session_.bound(smallest).plan;
  width_ = plan.spec(plan.graph().output(output_)).shape.c;
  reserve(1);
}

void Predictor::reserve(Index n) {
  const Index batch = backend_.inference_batch(n);
  session_.reserve(batch);
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

// Results wait in the backend's memory until the last batch is queued: fetching one would wait for
// it, and the next batch could not be on its way meanwhile.
void Predictor::run_together(const std::uint8_t* images, Index n, float* out) {
  reserve(n);
  for (Index done = 0; done < n;) {
    const Index batch = backend_.inference_batch(n - done), count = std::min(batch, n - done);
    reserve(batch);
    Session::Bound& bound = session_.bound(batch);
    const Feed::Part part{images + done * image_bytes_, bound.binding->input("images").address,
                          count * image_bytes_};
    feed_->put(std::span(&part, 1));
    launch(bound);
    backend_.copy(results_.get() + done * result_bytes(), bound.binding->output(output_).address,
                  count * result_bytes());
    done += count;
  }
  backend_.download(out, results_.get(), n * result_bytes());
  backend_.synchronize();
}

void Predictor::queue(const void* images, Index n) {
  for (Index done = 0; done < n;) {
    const Index batch = backend_.inference_batch(n - done), count = std::min(batch, n - done);
    session_.reserve(batch);
    Session::Bound& bound = session_.bound(batch);
    backend_.copy(bound.binding->input("images").address,
                  ConstPlace{images}.as<std::byte>() + done * image_bytes_, count * image_bytes_);
    launch(bound);
    done += count;
  }
}

Index Predictor::bytes() const {
  return parameters_.bytes() + session_.bytes() + (feed_ ? feed_->bytes() : 0) +
         results_room_ * result_bytes();
}

}  // namespace dfengine
