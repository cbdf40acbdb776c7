/* SPDX-License-Identifier: MIT */
#include "front.h"

/* Functions from before the table, which libonnxruntime exports beside it. */

#define LEGACY(provider)                                                                     \
    NPU_EXPORT struct ort_status *OrtSessionOptionsAppendExecutionProvider_##provider(       \
        struct ort_session_options *options, int number);                                    \
    struct ort_status *OrtSessionOptionsAppendExecutionProvider_##provider(                  \
        struct ort_session_options *options, int number)                                     \
    {                                                                                        \
        (void)number;                                                                        \
        return ort_SessionOptionsAppendExecutionProvider(options, #provider, NULL, NULL, 0); \
    }

LEGACY(CPU)
LEGACY(CUDA)
LEGACY(Tensorrt)
