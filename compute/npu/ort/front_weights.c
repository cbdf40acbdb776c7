/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front.h"

/* False if there is no memory. The value gets another owner. */
static bool add(struct front_weights *weights, const struct front_weight *from)
{
    struct front_weight *more = realloc(weights->at, (weights->count + 1) * sizeof(*weights->at)),
                        *w;

    if (!more)
        return false;
    weights->at = more;
    w = &more[weights->count];
    *w = *from;
    w->name = strdup(from->name);
    if (!w->name)
        return false;
    if (w->value)
        front_value_ref(w->value);
    weights->count++;
    return true;
}

int front_weights_copy(struct front_weights *to, const struct front_weights *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (!add(to, &from->at[i]))
            return -1;
    }
    return 0;
}

void front_weights_finish(struct front_weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) {
        free(weights->at[i].name);
        ort_ReleaseValue(weights->at[i].value);
    }
    free(weights->at);
    *weights = (struct front_weights){0};
}

struct ort_status *front_weights_give(const struct front_weights *weights, struct npu_options *ret,
                                      void **ret_memory)
{
    size_t count = weights->count;
    struct npu_weight *values;
    struct npu_file *files;

    *ret_memory = NULL;
    if (!count)
        return NULL;
    values = calloc(count, sizeof(*values) + sizeof(*files));
    if (!values)
        return front_no_memory();
    files = (struct npu_file *)(values + count);
    for (size_t i = 0; i < count; i++) {
        const struct front_weight *w = &weights->at[i];

        if (w->value)
            values[ret->weight_count++] =
                (struct npu_weight){w->name,        w->value->dtype, (int)w->value->rank,
                                    w->value->dims, w->value->data,  w->value->size};
        else
            files[ret->file_count++] = (struct npu_file){w->name, w->bytes, w->size};
    }
    ret->weights = values;
    ret->files = files;
    *ret_memory = values;
    return NULL;
}

static struct ort_status *add_value(struct ort_session_options *options, const char *name,
                                    const struct ort_value *value)
{
    const struct front_weight weight = {.name = (char *)(uintptr_t)name,
                                        .value = (struct ort_value *)(uintptr_t)value};

    if (value->type != ORT_TYPE_TENSOR || value->texts)
        return front_status(ORT_INVALID_ARGUMENT, "the initializer %s is no tensor of numbers",
                            name);
    return add(&options->weights, &weight) ? NULL : front_no_memory();
}

struct ort_status *ort_AddInitializer(struct ort_session_options *options, const char *name,
                                      const struct ort_value *val)
{
    return add_value(options, name, val);
}

struct ort_status *ort_AddExternalInitializers(struct ort_session_options *options,
                                               const char *const *names,
                                               const struct ort_value *const *initializers,
                                               size_t count)
{
    struct ort_status *status = NULL;

    for (size_t i = 0; i < count && !status; i++)
        status = add_value(options, names[i], initializers[i]);
    return status;
}

struct ort_status *ort_AddExternalInitializersFromFilesInMemory(struct ort_session_options *options,
                                                                const char *const *names,
                                                                char *const *buffers,
                                                                const size_t *lengths, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct front_weight file = {
            .name = (char *)(uintptr_t)names[i], .bytes = buffers[i], .size = lengths[i]};

        if (!add(&options->weights, &file))
            return front_no_memory();
    }
    return NULL;
}
