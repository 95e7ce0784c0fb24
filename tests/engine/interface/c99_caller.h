/* What the C99 caller offers to the tests, which are C++. */
#ifndef DFENGINE_TESTS_C99_CALLER_H
#define DFENGINE_TESTS_C99_CALLER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the model, classifies the file with a session of its own, and gives all back. The return is the
   first status that was not DF_OK, else that of the picture. */
int c99_classify(const char* model_path, const char* picture_path, double* probability);
/* The same with features, of which it writes the first `room`. */
int c99_features(const char* model_path, const char* picture_path, float* features, size_t room);

#ifdef __cplusplus
}
#endif

#endif
