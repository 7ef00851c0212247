// The C calls that onnxruntime_go brings along, as far as they are used here.
//
// onnxruntime_go's Go types cannot hold every value: outputs of rank 0 and of
// 16-bit and smaller float types fail in its automatic conversion, models
// without inputs panic, optionals are unknown. Its C calls have none of these
// limits, and are in the program anyway. They are declared weak so that this
// package links by itself; OpenORT checks that every one is there.
#ifndef DNNSPLIT_ORT_CALLS_H
#define DNNSPLIT_ORT_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtValue OrtValue;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtCUDAProviderOptionsV2 OrtCUDAProviderOptionsV2;
typedef struct OrtTensorRTProviderOptionsV2 OrtTensorRTProviderOptionsV2;

#define ORT_CALLS(X) \
  X(OrtStatus *, CreateOrtEnv, (char *name, OrtEnv **env)) \
  X(void, ReleaseOrtStatus, (OrtStatus *status)) \
  X(const char *, GetErrorMessage, (OrtStatus *status)) \
  X(OrtStatus *, CreateSessionOptions, (OrtSessionOptions **o)) \
  X(void, ReleaseSessionOptions, (OrtSessionOptions *o)) \
  X(OrtStatus *, SetSessionExecutionMode, (OrtSessionOptions *o, int mode)) \
  X(OrtStatus *, SetSessionGraphOptimizationLevel, (OrtSessionOptions *o, int level)) \
  X(OrtStatus *, SetSessionLogSeverityLevel, (OrtSessionOptions *o, int level)) \
  X(OrtStatus *, AddSessionConfigEntry, (OrtSessionOptions *o, char *key, char *value)) \
  X(OrtStatus *, SetIntraOpNumThreads, (OrtSessionOptions *o, int n)) \
  X(OrtStatus *, SetInterOpNumThreads, (OrtSessionOptions *o, int n)) \
  X(OrtStatus *, EnableProfiling, (OrtSessionOptions *o, char *prefix)) \
  X(OrtStatus *, CreateCUDAProviderOptions, (OrtCUDAProviderOptionsV2 **o)) \
  X(void, ReleaseCUDAProviderOptions, (OrtCUDAProviderOptionsV2 *o)) \
  X(OrtStatus *, AppendExecutionProviderCUDAV2, (OrtSessionOptions *o, OrtCUDAProviderOptionsV2 *cuda)) \
  X(OrtStatus *, CreateTensorRTProviderOptions, (OrtTensorRTProviderOptionsV2 **o)) \
  X(void, ReleaseTensorRTProviderOptions, (OrtTensorRTProviderOptionsV2 *o)) \
  X(OrtStatus *, AppendExecutionProviderTensorRTV2, (OrtSessionOptions *o, OrtTensorRTProviderOptionsV2 *trt)) \
  X(OrtStatus *, AppendExecutionProvider, (OrtSessionOptions *o, const char *name, const char **keys, const char **values, int n)) \
  X(OrtStatus *, CreateSession, (void *data, size_t length, OrtEnv *env, OrtSession **out, OrtSessionOptions *o)) \
  X(OrtStatus *, CreateSessionFromFile, (char *path, OrtEnv *env, OrtSession **out, OrtSessionOptions *o)) \
  X(void, ReleaseOrtSession, (OrtSession *s)) \
  X(OrtStatus *, RunOrtSessionWithOptions, (OrtSession *s, OrtValue **in, char **in_names, int in_count, OrtValue **out, char **out_names, int out_count, OrtRunOptions *o)) \
  X(OrtStatus *, CreateRunOptions, (OrtRunOptions **o)) \
  X(void, ReleaseRunOptions, (OrtRunOptions *o)) \
  X(OrtStatus *, RunOptionsSetTerminate, (OrtRunOptions *o)) \
  X(OrtStatus *, SessionGetInputCount, (OrtSession *s, size_t *n)) \
  X(OrtStatus *, SessionGetOutputCount, (OrtSession *s, size_t *n)) \
  X(OrtStatus *, SessionGetInputName, (OrtSession *s, size_t i, char **name)) \
  X(OrtStatus *, SessionGetOutputName, (OrtSession *s, size_t i, char **name)) \
  X(OrtStatus *, SessionGetInputTypeInfo, (OrtSession *s, size_t i, OrtTypeInfo **out)) \
  X(OrtStatus *, SessionGetOutputTypeInfo, (OrtSession *s, size_t i, OrtTypeInfo **out)) \
  X(OrtStatus *, GetONNXTypeFromTypeInfo, (OrtTypeInfo *info, int *out)) \
  X(OrtStatus *, CastTypeInfoToTensorInfo, (OrtTypeInfo *info, OrtTensorTypeAndShapeInfo **out)) \
  X(void, ReleaseTypeInfo, (OrtTypeInfo *info)) \
  X(OrtStatus *, FreeWithDefaultORTAllocator, (void *p)) \
  X(OrtStatus *, CreateTensorAsOrtValue, (int64_t *shape, int64_t rank, int elem, OrtValue **out)) \
  X(OrtStatus *, CreateOrtValue, (OrtValue **in, size_t n, int kind, OrtValue **out)) \
  X(void, ReleaseOrtValue, (OrtValue *v)) \
  X(OrtStatus *, GetValueType, (OrtValue *v, int *out)) \
  X(OrtStatus *, GetValueCount, (OrtValue *v, size_t *n)) \
  X(OrtStatus *, GetValue, (OrtValue *v, int i, OrtValue **out)) \
  X(OrtStatus *, GetTensorTypeAndShape, (const OrtValue *v, OrtTensorTypeAndShapeInfo **out)) \
  X(void, ReleaseTensorTypeAndShapeInfo, (OrtTensorTypeAndShapeInfo *info)) \
  X(OrtStatus *, GetDimensionsCount, (const OrtTensorTypeAndShapeInfo *info, size_t *n)) \
  X(OrtStatus *, GetDimensions, (const OrtTensorTypeAndShapeInfo *info, int64_t *dims, size_t n)) \
  X(OrtStatus *, GetTensorElementType, (const OrtTensorTypeAndShapeInfo *info, int *out)) \
  X(OrtStatus *, GetTensorMutableData, (OrtValue *v, void **out)) \
  X(OrtStatus *, FillStringTensor, (OrtValue *v, char **strings, size_t n)) \
  X(OrtStatus *, GetStringTensorDataLength, (OrtValue *v, size_t *n)) \
  X(OrtStatus *, GetStringTensorContent, (OrtValue *v, void *buffer, size_t size, size_t *offsets, size_t n))

#define ORT_DECLARE(ret, name, args) extern ret name args __attribute__((weak));
ORT_CALLS(ORT_DECLARE)

// Three calls that onnxruntime_go lacks are made through ONNX Runtime's own table
// of calls, which is only ever appended to: the numbers are places in it.
enum { ORT_GET_SYMBOLIC_DIMENSIONS = 63, ORT_HAS_VALUE = 192, ORT_HAS_SHAPE = 390 };

static inline OrtStatus *dnnsplit_symbolic_dimensions(const void *const *api, const OrtTensorTypeAndShapeInfo *info, const char **symbols, size_t n) {
  OrtStatus *(*call)(const OrtTensorTypeAndShapeInfo *, const char **, size_t);
  *(const void **)&call = api[ORT_GET_SYMBOLIC_DIMENSIONS];
  return call(info, symbols, n);
}

// dnnsplit_has_shape tells a tensor of unknown rank from one of rank 0.
static inline int dnnsplit_has_shape(const void *const *api, const OrtTensorTypeAndShapeInfo *info) {
  _Bool (*call)(const OrtTensorTypeAndShapeInfo *);
  *(const void **)&call = api[ORT_HAS_SHAPE];
  return call(info);
}

// dnnsplit_has_value says whether an optional holds something. Asking an empty
// one anything else can crash.
static inline OrtStatus *dnnsplit_has_value(const void *const *api, const OrtValue *v, int *out) {
  OrtStatus *(*call)(const OrtValue *, int *);
  *(const void **)&call = api[ORT_HAS_VALUE];
  return call(v, out);
}

// dnnsplit_missing_call is the name of a call above that the program lacks, NULL if it has all.
static inline const char *dnnsplit_missing_call(void) {
#define ORT_CHECK(ret, name, args) if (!name) return #name;
  ORT_CALLS(ORT_CHECK)
  return NULL;
}

#endif
