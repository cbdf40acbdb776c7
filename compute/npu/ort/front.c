/* SPDX-License-Identifier: MIT */
#include "front.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Programs ask for the newest API that they know; later ones only add slots at the end. */
#define FRONT_NEWEST  32u
#define FRONT_VERSION "1.29.0"
/* Slots of APIs behind ORT_ABI_VERSION. */
#define FRONT_SPARE 64

static struct ort_status no_memory = {ORT_FAIL, "out of memory"};

struct ort_status *front_no_memory(void)
{
    return &no_memory;
}

struct ort_status *front_status(int code, const char *format, ...)
{
    struct ort_status *status;
    va_list args;
    char *text;
    int length;

    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        return front_no_memory();
    status = malloc(sizeof(*status) + (size_t)length + 1);
    if (status) {
        status->code = code;
        status->message = memcpy(status + 1, text, (size_t)length + 1);
    }
    free(text);
    return status ? status : front_no_memory();
}

struct ort_status *front_npu_status(int err)
{
    switch (-err) {
    case 0:
        return NULL;
    case NPU_PARAMETER:
        return front_status(ORT_INVALID_ARGUMENT, "%s", npu_message());
    case NPU_UNSUPPORTED:
        return front_status(ORT_NOT_IMPLEMENTED, "%s", npu_message());
    default:
        return front_status(ORT_FAIL, "%s", npu_message());
    }
}

struct ort_status *ort_CreateStatus(int code, const char *msg)
{
    return front_status(code, "%s", msg);
}

int ort_GetErrorCode(const struct ort_status *status)
{
    return status->code;
}

const char *ort_GetErrorMessage(const struct ort_status *status)
{
    return status->message;
}

void ort_ReleaseStatus(struct ort_status *input)
{
    if (input != &no_memory)
        free(input);
}

const char *ort_GetBuildInfoString(void)
{
    return "Viaduct: ONNX Runtime's API, forwarded to the host";
}

/* What is not served says so, by name. */
#define ORT_SLOT(number, since, name, ret, args)
#define ORT_NONE(number, since, name)                                                  \
    static struct ort_status *none_##name(void)                                        \
    {                                                                                  \
        return front_status(ORT_NOT_IMPLEMENTED, #name " is not carried to the host"); \
    }
#define ORT_VOID(number, since, name)    \
    static void void_##name(void *input) \
    {                                    \
        (void)input;                     \
    }
#define ORT_ZERO(number, since, name) \
    static void *zero_##name(void)    \
    {                                 \
        return NULL;                  \
    }
#include "ortapi.def"

static struct ort_status *none_newer(void)
{
    return front_status(ORT_NOT_IMPLEMENTED,
                        "a function newer than version %u of the API is not carried to the host",
                        ORT_ABI_VERSION);
}

static struct {
    struct ort_api api;
    struct ort_status *(*spare[FRONT_SPARE])(void);
} table = {
    .api =
        {
#define ORT_SLOT(number, since, name, ret, args) .name = ort_##name,
#define ORT_NONE(number, since, name)            .name = none_##name,
#define ORT_VOID(number, since, name)            .name = void_##name,
#define ORT_ZERO(number, since, name)            .name = zero_##name,
#include "ortapi.def"
        },
};

#define ORT_SLOT(number, since, name, ret, args) \
    _Static_assert(offsetof(struct ort_api, name) == (number) * sizeof(void *), #name);
#define ORT_NONE(number, since, name) ORT_SLOT(number, since, name, , )
#define ORT_VOID(number, since, name) ORT_SLOT(number, since, name, , )
#define ORT_ZERO(number, since, name) ORT_SLOT(number, since, name, , )
#include "ortapi.def"

static void __attribute__((constructor)) fill_spare(void)
{
    for (size_t i = 0; i < FRONT_SPARE; i++)
        table.spare[i] = none_newer;
}

static const struct ort_api *get_api(uint32_t version)
{
    return version && version <= FRONT_NEWEST ? &table.api : NULL;
}

static const char *get_version_string(void)
{
    return FRONT_VERSION;
}

NPU_EXPORT extern const int viaduct_ort_front;

/* By this the host tells that it has found no runtime, but us. */
const int viaduct_ort_front = 1;

const struct ort_api_base *versions_base(const void *caller)
{
    static const struct ort_api_base base = {get_api, get_version_string};

    (void)caller;
    return &base;
}

const struct ort_api_base *OrtGetApiBase(void)
{
    return versions_base(NULL);
}
