/* A caller that a C99 compiler takes: the header must be C, and all of it must be usable from C. */
#include "tests/engine/interface/c99_caller.h"

#include "engine/interface/dfengine.h"

static df_status open_and_classify(const char* model_path, const char* picture_path, uint32_t extras,
                                   df_results** results) {
  df_session_options options = {.struct_size = sizeof options, .threads = 1};
  df_picture picture = {.struct_size = sizeof picture, .path = picture_path};
  df_model* model = NULL;
  df_session* session = NULL;
  df_status status = df_model_open(model_path, &model);
  if (status == DF_OK) status = df_session_open(model, &options, &session);
  /* A session keeps what it needs. */
  df_model_close(&model);
  if (status == DF_OK) status = df_classify(session, &picture, 1, extras, results);
  df_session_close(&session);
  return status;
}

int c99_classify(const char* model_path, const char* picture_path, double* probability) {
  df_results* results = NULL;
  int status = open_and_classify(model_path, picture_path, 0, &results);
  if (status == DF_OK) {
    const df_result* result = df_results_get(results, 0);
    *probability = result->probability;
    status = result->status;
  }
  df_results_free(&results);
  return status;
}

int c99_features(const char* model_path, const char* picture_path, float* features, size_t room) {
  df_results* results = NULL;
  int status = open_and_classify(model_path, picture_path, DF_FEATURES, &results);
  if (status == DF_OK) {
    const df_result* result = df_results_get(results, 0);
    size_t count = (size_t)result->feature_count;
    for (size_t i = 0; i < room && i < count; ++i) features[i] = result->features[i];
    status = result->status;
  }
  df_results_free(&results);
  return status;
}
