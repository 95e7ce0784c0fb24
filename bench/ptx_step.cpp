// One step of MobileNetV2 in FP16, by rule, for the interpreter of its kernels to count
// (tests/ptx/README.md). Usage: ptx_step infer|train PICTURES
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "engine/bench/workload.h"
#include "engine/model/predictor.h"
#include "engine/runtime/cuda/cuda_backend.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace dfengine {
namespace {

void run(Work work, Index pictures) {
  ThreadPool pool(1);
  const CudaBackend backend({.precision = Precision::Fp16, .graphs = false, .deterministic = true});
  const BenchTarget target({}, pool, backend);
  const Workload load(target, work);
  RandomBatches batches(load.sample, pictures);
  Model model = random_model(target);
  if (!load.trains()) {
    std::vector<float> logits(at(pictures));
    Predictor(model, backend, Predictor::Output::Logits)
        .run(reinterpret_cast<const std::uint8_t*>(batches.next()), pictures, logits.data());
    return;
  }
  TrainingOptions options;
  options.batch = pictures;
  options.trainable = load.options.trainable;
  Training training(load.graph, load.sample, model.parameters, backend, options);
  training.step(batches.next(), batches.targets().data(), pictures, {.learning_rate = 1e-4});
  training.collect();
}

}  // namespace
}  // namespace dfengine

int main(int count, char** arguments) {
  try {
    if (count != 3) throw dfengine::UsageError("usage: ptx_step infer|train PICTURES");
    dfengine::run(dfengine::parse_name<dfengine::Work>(arguments[1]), std::stoll(arguments[2]));
    return EXIT_SUCCESS;
  } catch (const std::exception& e) {
    std::cerr << "ptx_step: " << e.what() << '\n';
    return EXIT_FAILURE;
  }
}
