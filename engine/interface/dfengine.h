/* dfengine inside other programs: a detector of synthetic faces, for C99 and what calls C.

   Nothing here prints, ends the process, throws, or changes the process' state (signals, locale,
   working folder, environment). What a function makes is dfengine's: it is given back with the
   function named beside it, never with free(). Paths are taken as the system has them; all other
   text is UTF-8.

   Threads: a df_model never changes, and any number of threads may use it at once. A df_session is
   used by one thread at a time, whichever it is; a second one gets DF_BUSY. df_results never
   change. Errors are kept for each thread.

   fork(): a child may use and close what its parent opened. A session of its parent has no threads
   there but the one that calls, and gives the same answers more slowly; a session that the child
   opens has all of its own. One that another thread was in at the fork stays DF_BUSY in the child,
   and closing it gives its memory back only when the process ends. GPUs are not for children: CUDA
   works in none whose parent has used it. */
#ifndef DFENGINE_H
#define DFENGINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DF_API __attribute__((visibility("default")))
#else
#define DF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when a program that was compiled against an older header would no longer work. */
#define DF_ABI_VERSION 1

/* What a call came to. The numbers are those of the program's exit codes, where it has them. */
typedef enum df_status {
  DF_OK = 0,
  DF_FAILED = 1,    /* none of those below: the system, or a self-test that did not pass */
  DF_USAGE = 2,     /* the call makes no sense: NULL, an option out of range, a wrong struct_size */
  DF_BAD_DATA = 3,  /* a picture that cannot be read */
  DF_BAD_MODEL = 4, /* a model that cannot be read, or that is no detector */
  DF_NO_DEVICE = 5, /* the device is absent, or failed */
  DF_NO_MEMORY = 6,
  DF_BUSY = 7 /* another thread is in this session */
} df_status;

typedef struct df_model df_model;
typedef struct df_session df_session;
typedef struct df_results df_results;

/* The library's version, such as "0.1.0", and the DF_ABI_VERSION that it was built with. Any
   thread. */
DF_API const char* df_version(void);
DF_API int32_t df_abi_version(void);

/* What went wrong in this thread's last call that did not give DF_OK: what failed, where, and what
   to try; "" before the first, and at most 2047 bytes. It stays until this thread's next call that
   fails. Any thread. */
DF_API const char* df_last_error(void);
/* The name of a status, such as "DF_BAD_DATA". Any thread. */
DF_API const char* df_status_name(int32_t status);

/* ---- Models ---- */

/* Opens a detector from a file in any format that this build reads, or from the bytes of such a
   file, which are not needed afterwards. *model is NULL where it fails. Any thread. */
DF_API df_status df_model_open(const char* path, df_model** model);
DF_API df_status df_model_open_bytes(const void* bytes, size_t size, df_model** model);
/* Gives *model back and makes it NULL; a NULL is left alone. Its sessions go on. No other thread
   may use the same pointer meanwhile. */
DF_API void df_model_close(df_model** model);

/* What a model is. The texts live as long as the model or a session of it. */
typedef struct df_model_info {
  size_t struct_size; /* sizeof(df_model_info), set by the caller */
  const char* architecture;
  const char* classes[2]; /* real, fake: as the model was trained */
  double threshold;       /* a probability from here on is called fake */
  double temperature;     /* probability = 1 / (1 + exp(-logit / temperature)) */
  int64_t input_size;     /* pictures become so many pixels on each side */
  int64_t features;       /* values of df_result.features; 0 of an ensemble, which has none */
} df_model_info;

/* Fills *info. Any thread. */
DF_API df_status df_model_get_info(const df_model* model, df_model_info* info);

/* ---- Sessions ---- */

typedef enum df_device {
  DF_CPU = 0,
  DF_CUDA = 1,
  /* The GPU where it passes a self-test of a second or two, whose verdict is kept in the user's
     cache folder; else the CPU, which alone computes quantized models. */
  DF_AUTO = 2
} df_device;

/* Of activations and weights. A CPU computes in BF16 where that is asked for, else in float. */
typedef enum df_precision { DF_FP16 = 0, DF_BF16 = 1, DF_FP32 = 2 } df_precision;

/* All fields but struct_size may be 0, which means what stands with them. */
typedef struct df_session_options {
  size_t struct_size; /* sizeof(df_session_options) */
  /* That decode and compute, the caller's among them, at most 1024; 0: all this process may use. */
  int32_t threads;
  int32_t device;     /* a df_device; 0: the CPU */
  int32_t precision;  /* a df_precision; 0: FP16 */
  int32_t batch;      /* pictures that are decoded and computed together, at most 4096; 0: 32 */
  int64_t max_pixels; /* larger pictures are refused; 0: 100 million */
  double threshold;   /* in place of the model's, 0 to 1; 0: the model's */
} df_session_options;

/* Opens a session, which keeps the model alive and has threads and memory of its own. options may
   be NULL: all of them 0. *session is NULL where it fails. Any thread. */
DF_API df_status df_session_open(const df_model* model, const df_session_options* options,
                                 df_session** session);
/* Gives *session back and makes it NULL; a NULL is left alone. Its results stay. No other thread
   may use the same pointer meanwhile. */
DF_API void df_session_close(df_session** session);

/* The device that computes, as a df_device: DF_CPU or DF_CUDA. Any thread. */
DF_API df_status df_session_device(const df_session* session, int32_t* device);

/* Runs the short self-test on the session's device: layers and the network against an independent
   computation, a second or two. DF_FAILED where a number is wrong; df_last_error says which. One
   thread at a time. */
DF_API df_status df_selftest(df_session* session);

/* ---- Pictures and answers ---- */

/* A picture: a file, the bytes of one (JPEG, PNG and what else this build reads, told by content),
   or pixels. Exactly one of path, bytes and rgb is not NULL. All of it is the caller's and is only
   read during the call. */
typedef struct df_picture {
  size_t struct_size; /* sizeof(df_picture); the same in all pictures of an array */
  const char* path;
  const void* bytes;
  size_t size;        /* of bytes */
  const uint8_t* rgb; /* [height, width, 3], rows from the top */
  int64_t height, width;
  int64_t row_bytes; /* from one row of rgb to the next; 0: 3 * width */
} df_picture;

/* What df_classify gives beside the answer; each costs a run of its own. */
enum {
  DF_FEATURES = 1,
  DF_HEAT_MAP = 2 /* computed on the CPU, on any device */
};

/* The answer for one picture. Later versions may append fields. */
typedef struct df_result {
  size_t struct_size;
  int32_t status;     /* a df_status: DF_OK, or why there is no answer */
  const char* error;  /* "" where there is an answer */
  double probability; /* of being fake, 0 to 1, calibrated; NaN without an answer, as is logit */
  double logit;
  double threshold;    /* that decided */
  int32_t fake;        /* 1 for fake, 0 for real, -1 without an answer */
  const char* verdict; /* the class' name; "" without an answer */
  /* 1 where the model does not stand by its verdict: in the band that dfengine eval --unsure-errors
     gave it, unless the session has a threshold of its own. */
  int32_t unsure;
  const float* features;
  int64_t feature_count;
  /* Where the evidence for the verdict lies: values >= 0 [rows, columns] over the whole input
     square, all 0 where nothing speaks for it. NULL where it was not asked for. */
  const float* heat_map;
  int64_t heat_map_rows, heat_map_columns;
} df_result;

/* Answers for pictures [count], in their order. extras: 0, or a sum of DF_FEATURES and DF_HEAT_MAP.
   A picture that cannot be read has its status and error in its result, and the call still gives
   DF_OK. On the CPU the answers are those of `dfengine predict --device cpu` in the same precision,
   bit for bit, whatever threads and batch are. *results is NULL where the call fails. One thread at
   a time. */
DF_API df_status df_classify(df_session* session, const df_picture* pictures, size_t count,
                             uint32_t extras, df_results** results);

/* The number of results, and one of them; 0 and NULL for a NULL, and NULL past the end. They live
   until the results are given back. Any thread. */
DF_API size_t df_results_count(const df_results* results);
DF_API const df_result* df_results_get(const df_results* results, size_t index);
/* Gives *results back and makes it NULL; a NULL is left alone. No other thread may use them
   meanwhile. */
DF_API void df_results_free(df_results** results);

#ifdef __cplusplus
}
#endif

#endif /* DFENGINE_H */
