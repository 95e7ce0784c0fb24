/* The least that a C program of yours needs to classify pictures.
   Usage: classify_c MODEL PICTURE... */
#include <dfengine.h>
#include <stdio.h>

static int print_all(const df_results* results, char** names) {
  int worst = DF_OK;
  for (size_t i = 0; i < df_results_count(results); ++i) {
    const df_result* r = df_results_get(results, i);
    if (r->status == DF_OK) {
      printf("%.17g %s %s\n", r->probability, r->verdict, names[i]);
    } else {
      fprintf(stderr, "%s\n", r->error);
      worst = r->status;
    }
  }
  return worst;
}

int main(int argc, char** argv) {
  enum { kMost = 64 };
  df_picture pictures[kMost];
  df_model* model = NULL;
  df_session* session = NULL;
  df_results* results = NULL;
  int count = argc - 2, status;
  if (count < 1 || count > kMost) {
    fprintf(stderr, "usage: %s MODEL PICTURE...    at most %d pictures\n", argv[0], (int)kMost);
    return DF_USAGE;
  }
  for (int i = 0; i < count; ++i)
    pictures[i] = (df_picture){.struct_size = sizeof(df_picture), .path = argv[i + 2]};
  status = df_model_open(argv[1], &model);
  if (status == DF_OK) status = df_session_open(model, NULL, &session);
  if (status == DF_OK) status = df_classify(session, pictures, (size_t)count, 0, &results);
  if (status == DF_OK) {
    status = print_all(results, argv + 2);
  } else {
    fprintf(stderr, "%s: %s\n", argv[0], df_last_error());
  }
  df_results_free(&results);
  df_session_close(&session);
  df_model_close(&model);
  return status;
}
