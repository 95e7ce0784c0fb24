#include "engine/model/predictor.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace dfengine {
namespace {

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
  reserve(1);
  const Plan& plan = session_.bound(backend.inference_batch(1)).plan;
  width_ = plan.spec(plan.graph().output(output_)).shape.c;
}

void Predictor::reserve(Index n) {
  const Index batch = backend_.inference_batch(n);
  session_.reserve(batch);
  if (batch <= fed_) return;
  feed_ = backend_.make_feed(batch * image_bytes_);
  fed_ = batch;
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
    const Index batch = backend_.inference_batch(n - done), count = std::min(batch, n - done);
    reserve(batch);
    Session::Bound& bound = session_.bound(batch);
    const Feed::Part part{images + done * image_bytes_, bound.binding->input("images").address,
                          count * image_bytes_};
    feed_->put(std::span(&part, 1));
    launch(bound);
    backend_.download(out + done * width_, bound.binding->output(output_).address,
                      count * width_ * kFloatBytes);
    done += count;
  }
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
  return parameters_.bytes() + session_.bytes() + (feed_ ? feed_->bytes() : 0);
}

}  // namespace dfengine
