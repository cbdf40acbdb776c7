/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front.h"

/* Values by name, which a session is run with. */
struct bound {
    char **names;
    struct ort_value **values; /* of an output NULL: made by each run */
    bool *made;                /* values[i] is a run's */
    size_t count, room;
};

struct ort_io_binding {
    struct bound inputs, outputs;
};

static void drop(struct bound *b)
{
    for (size_t i = 0; i < b->count; i++) {
        free(b->names[i]);
        ort_ReleaseValue(b->values[i]);
    }
    b->count = 0;
}

static void finish(struct bound *b)
{
    drop(b);
    free(b->names);
    free(b->values);
    free(b->made);
}

static bool grow(struct bound *b)
{
    size_t room = b->room ? 2 * b->room : 8;
    char **names = realloc(b->names, room * sizeof(*names));
    struct ort_value **values;
    bool *made;

    if (names)
        b->names = names;
    values = names ? realloc(b->values, room * sizeof(struct ort_value *)) : NULL;
    if (values)
        b->values = values;
    made = values ? realloc(b->made, room * sizeof(*made)) : NULL;
    if (!made)
        return false;
    b->made = made;
    b->room = room;
    return true;
}

static struct ort_status *bind(struct bound *b, const char *name, struct ort_value *value)
{
    size_t i = 0;

    while (i < b->count && strcmp(b->names[i], name))
        i++;
    if (i == b->count) {
        if ((b->count == b->room && !grow(b)) || !(b->names[i] = strdup(name))) {
            ort_ReleaseValue(value);
            return front_no_memory();
        }
        b->count++;
    } else {
        ort_ReleaseValue(b->values[i]);
    }
    b->values[i] = value;
    b->made[i] = !value;
    return NULL;
}

struct ort_status *ort_CreateIoBinding(struct ort_session *session, struct ort_io_binding **out)
{
    (void)session;
    *out = calloc(1, sizeof(**out));
    return *out ? NULL : front_no_memory();
}

void ort_ReleaseIoBinding(struct ort_io_binding *input)
{
    if (!input)
        return;
    finish(&input->inputs);
    finish(&input->outputs);
    free(input);
}

struct ort_status *ort_BindInput(struct ort_io_binding *binding_ptr, const char *name,
                                 const struct ort_value *val_ptr)
{
    return bind(&binding_ptr->inputs, name, front_value_ref(val_ptr));
}

struct ort_status *ort_BindOutput(struct ort_io_binding *binding_ptr, const char *name,
                                  const struct ort_value *val_ptr)
{
    return bind(&binding_ptr->outputs, name, front_value_ref(val_ptr));
}

struct ort_status *ort_BindOutputToDevice(struct ort_io_binding *binding_ptr, const char *name,
                                          const struct ort_memory_info *mem_info_ptr)
{
    if (mem_info_ptr->device_type)
        return front_status(ORT_INVALID_ARGUMENT, "there is no memory called %s here",
                            mem_info_ptr->name);
    return bind(&binding_ptr->outputs, name, NULL);
}

void ort_ClearBoundInputs(struct ort_io_binding *binding_ptr)
{
    drop(&binding_ptr->inputs);
}

void ort_ClearBoundOutputs(struct ort_io_binding *binding_ptr)
{
    drop(&binding_ptr->outputs);
}

/* Runs are complete when they return. */
struct ort_status *ort_SynchronizeBoundInputs(struct ort_io_binding *binding_ptr)
{
    (void)binding_ptr;
    return NULL;
}

struct ort_status *ort_SynchronizeBoundOutputs(struct ort_io_binding *binding_ptr)
{
    (void)binding_ptr;
    return NULL;
}

struct ort_status *ort_RunWithBinding(struct ort_session *session,
                                      const struct ort_run_options *run_options,
                                      const struct ort_io_binding *binding_ptr)
{
    const struct bound *in = &binding_ptr->inputs, *out = &binding_ptr->outputs;

    for (size_t i = 0; i < out->count; i++) {
        if (out->made[i]) {
            ort_ReleaseValue(out->values[i]);
            out->values[i] = NULL;
        }
    }
    return ort_Run(session, run_options, (const char *const *)in->names,
                   (const struct ort_value *const *)in->values, in->count,
                   (const char *const *)out->names, out->count, out->values);
}

/* All names in one piece without ends, and their lengths. */
struct ort_status *ort_GetBoundOutputNames(const struct ort_io_binding *binding_ptr,
                                           struct ort_allocator *allocator, char **buffer,
                                           size_t **lengths, size_t *count)
{
    const struct bound *out = &binding_ptr->outputs;
    size_t sum = 0;

    *buffer = NULL;
    *lengths = NULL;
    *count = 0;
    if (!out->count)
        return NULL;
    for (size_t i = 0; i < out->count; i++)
        sum += strlen(out->names[i]);
    *buffer = allocator->alloc(allocator, sum ? sum : 1);
    *lengths = allocator->alloc(allocator, out->count * sizeof(**lengths));
    if (!*buffer || !*lengths) {
        if (*buffer)
            allocator->free(allocator, *buffer);
        if (*lengths)
            allocator->free(allocator, *lengths);
        return front_no_memory();
    }
    sum = 0;
    for (size_t i = 0; i < out->count; i++) {
        (*lengths)[i] = strlen(out->names[i]);
        memcpy(*buffer + sum, out->names[i], (*lengths)[i]);
        sum += (*lengths)[i];
    }
    *count = out->count;
    return NULL;
}

struct ort_status *ort_GetBoundOutputValues(const struct ort_io_binding *binding_ptr,
                                            struct ort_allocator *allocator,
                                            struct ort_value ***output, size_t *output_count)
{
    const struct bound *out = &binding_ptr->outputs;
    struct ort_value **values;

    *output = NULL;
    *output_count = 0;
    if (!out->count)
        return NULL;
    values = allocator->alloc(allocator, out->count * sizeof(struct ort_value *));
    if (!values)
        return front_no_memory();
    for (size_t i = 0; i < out->count; i++)
        values[i] = out->values[i] ? front_value_ref(out->values[i]) : NULL;
    *output = values;
    *output_count = out->count;
    return NULL;
}
