/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front.h"

/* A copy: it may outlive its session. */
struct ort_model_metadata {
    char *producer, *graph, *domain, *description;
    int64_t version;
    struct ort_key_value_pairs pairs;
};

void ort_ReleaseModelMetadata(struct ort_model_metadata *input)
{
    if (!input)
        return;
    free(input->producer);
    free(input->graph);
    free(input->domain);
    free(input->description);
    front_pairs_finish(&input->pairs);
    free(input);
}

struct ort_status *ort_SessionGetModelMetadata(const struct ort_session *session,
                                               struct ort_model_metadata **out)
{
    struct ort_model_metadata *m = calloc(1, sizeof(*m));
    bool failed = !m;

    if (m) {
        m->producer = strdup(session->info->producer);
        m->graph = strdup(session->info->graph);
        m->domain = strdup(session->info->domain);
        m->description = strdup(session->info->description);
        m->version = session->info->version;
        failed = !m->producer || !m->graph || !m->domain || !m->description;
    }
    for (size_t i = 0; !failed && i < session->info->pair_count; i++)
        failed = front_pairs_set(&m->pairs, session->info->keys[i], session->info->values[i]);
    if (failed) {
        ort_ReleaseModelMetadata(m);
        return front_no_memory();
    }
    *out = m;
    return NULL;
}

#define TEXT(name, member)                                                                       \
    struct ort_status *ort_ModelMetadataGet##name(const struct ort_model_metadata *m,            \
                                                  struct ort_allocator *allocator, char **value) \
    {                                                                                            \
        return front_give_text(allocator, member, value);                                        \
    }

TEXT(ProducerName, m->producer)
TEXT(GraphName, m->graph)
TEXT(Domain, m->domain)
TEXT(Description, m->description)

/* The host does not tell. */
struct ort_status *ort_ModelMetadataGetGraphDescription(const struct ort_model_metadata *m,
                                                        struct ort_allocator *allocator,
                                                        char **value)
{
    (void)m;
    return front_give_text(allocator, "", value);
}

struct ort_status *ort_ModelMetadataGetVersion(const struct ort_model_metadata *model_metadata,
                                               int64_t *value)
{
    *value = model_metadata->version;
    return NULL;
}

struct ort_status *
ort_ModelMetadataLookupCustomMetadataMap(const struct ort_model_metadata *model_metadata,
                                         struct ort_allocator *allocator, const char *key,
                                         char **value)
{
    const char *found = front_pairs_get(&model_metadata->pairs, key);

    *value = NULL;
    return found ? front_give_text(allocator, found, value) : NULL;
}

struct ort_status *
ort_ModelMetadataGetCustomMetadataMapKeys(const struct ort_model_metadata *model_metadata,
                                          struct ort_allocator *allocator, char ***keys,
                                          int64_t *num_keys)
{
    const struct ort_key_value_pairs *pairs = &model_metadata->pairs;
    struct ort_status *status = NULL;
    char **names = NULL;
    size_t made = 0;

    *keys = NULL;
    *num_keys = 0;
    if (!pairs->count)
        return NULL;
    names = allocator->alloc(allocator, pairs->count * sizeof(*names));
    if (!names)
        return front_no_memory();
    for (; made < pairs->count && !status; made++)
        status = front_give_text(allocator, pairs->keys[made], &names[made]);
    if (status) {
        /* The last one was not made. */
        while (--made)
            allocator->free(allocator, names[made - 1]);
        allocator->free(allocator, names);
        return status;
    }
    *keys = names;
    *num_keys = (int64_t)pairs->count;
    return NULL;
}
