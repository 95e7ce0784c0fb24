// What the handles of the C interface hold.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/pictures/prepare.h"
#include "engine/evaluate/grad_cam.h"
#include "engine/interface/busy.h"
#include "engine/interface/dfengine.h"
#include "engine/model/predictor.h"
#include "engine/runtime/open_backend.h"

// Handles hold pointers alone, so that a model outlives its handle as long as a session needs it.
struct df_model {
  std::shared_ptr<const dfengine::Model> model;
};

struct df_session {
  // options are checked, and none is left to its default but the threshold.
  df_session(std::shared_ptr<const dfengine::Model> of, const df_session_options& options);

  std::shared_ptr<const dfengine::Model> model;
  dfengine::ThreadPool pool;
  std::unique_ptr<dfengine::Backend> backend;
  dfengine::Predictor logits;
  std::vector<dfengine::Preparer> preparers;  // one for each thread of the pool
  std::vector<dfengine::Image> rows;          // the same, for pixels whose rows lie apart
  dfengine::Index batch, max_pixels;
  double threshold;
  std::atomic<bool> taken{false};

  // Made when they are first asked for.
  std::optional<dfengine::Predictor> features;
  std::optional<dfengine::CpuBackend> cpu;
  std::optional<dfengine::GradCam> heat_maps;
};

struct df_results {
  std::shared_ptr<const dfengine::Model> model;  // whose class names the results show
  std::vector<df_result> all;
  std::deque<std::string> errors;
  std::deque<std::vector<float>> values;  // features and heat maps
};
