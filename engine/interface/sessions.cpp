#include "engine/interface/errors.h"
#include "engine/interface/handles.h"
#include "engine/interface/structs.h"
#include "engine/selftest/verdict.h"

namespace dfengine::interface {
namespace {

constexpr std::size_t kFirstOptions = sizeof(df_session_options);
constexpr Index kUsualBatch = 32, kMostBatch = 4096;
constexpr int kMostThreads = 1024;

template <class T>
void check_range(const char* name, T value, T most) {
  if (value >= 0 && value <= most) return;
  throw UsageError(fmt::format("df_session_options.{} is {}: from 0 to {}", name, value, most));
}

df_session_options checked(const df_session_options* given) {
  df_session_options options = {};
  if (given != nullptr) options = read_struct(given, kFirstOptions, "df_session_options");
  check_range("threads", options.threads, kMostThreads);
  check_range<int>("device", options.device, DF_AUTO);
  check_range<int>("precision", options.precision, DF_FP32);
  check_range("batch", Index{options.batch}, kMostBatch);
  check_range("max_pixels", Index{options.max_pixels}, Index{1} << 30);
  check_range("threshold", options.threshold, 1.0);
  if (options.threads == 0) options.threads = ThreadPool::available();
  if (options.batch == 0) options.batch = kUsualBatch;
  if (options.max_pixels == 0) options.max_pixels = kMaxImagePixels;
  return options;
}

std::unique_ptr<Backend> backend_for([[maybe_unused]] const Model& model,
                                     const df_session_options& options, ThreadPool& pool) {
  constexpr Precision kPrecisions[] = {Precision::Fp16, Precision::Bf16, Precision::Fp32};
  const DeviceConfig config = {.precision = kPrecisions[options.precision]};
  DeviceKind kind = options.device == DF_CUDA ? DeviceKind::Cuda : DeviceKind::Cpu;
#if !DFENGINE_CPU_ONLY
  if (options.device == DF_AUTO && model.config.quantization.empty())
    kind = choose_device(config.precision, pool, [](const std::string&) {});
#endif
  return open_backend(kind, config, pool);
}

}  // namespace
}  // namespace dfengine::interface

using namespace dfengine::interface;

df_session::df_session(std::shared_ptr<const dfengine::Model> of, const df_session_options& options)
    : model(std::move(of)),
      pool(options.threads),
      backend(backend_for(*model, options, pool)),
      logits(*model, *backend, dfengine::Predictor::Output::Logits),
      preparers(static_cast<std::size_t>(options.threads),
                dfengine::Preparer(model->preparation(options.max_pixels))),
      rows(preparers.size()),
      batch(options.batch),
      max_pixels(options.max_pixels),
      threshold(options.threshold > 0 ? options.threshold : model->threshold) {
  logits.reserve(batch);
}

df_status df_session_open(const df_model* model, const df_session_options* options,
                          df_session** session) {
  return guarded([&] {
    *required(session, "session") = nullptr;
    *session = new df_session(required(model, "model")->model, checked(options));
  });
}

void df_session_close(df_session** session) {
  if (session == nullptr || *session == nullptr) return;
  // In a session that a fork() copied while another thread was in it, everything may be
  // half-changed.
  if (!(*session)->taken) delete *session;
  *session = nullptr;
}

df_status df_session_device(const df_session* session, int32_t* device) {
  return guarded([&] {
    const bool cuda = required(session, "session")->backend->kind() == dfengine::DeviceKind::Cuda;
    *required(device, "device") = cuda ? DF_CUDA : DF_CPU;
  });
}
