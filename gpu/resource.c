/* SPDX-License-Identifier: MIT */
#include "resource.h"

#include <linux/virtio_gpu.h>
#include <stdlib.h>
#include <vhost/vhost.h>
#include <viaduct/errors.h>

/* Entries read from the request at once. */
#define RESOURCE_CHUNK 64u
/* Pieces are not joined across multiples of this: no two regions of memory share so much. */
#define RESOURCE_BLOCK (2u << 20)

struct gpu_resource *resource_find(const struct gpu_resources *resources, uint32_t id)
{
    return (struct gpu_resource *)table_find(&resources->table, id);
}

int resource_create(struct gpu_resources *resources, uint32_t id)
{
    struct gpu_resource *resource;

    if (!id || resource_find(resources, id))
        return VD_ERR_PARAMETER;
    if (resources->table.count == RESOURCE_MAX)
        return VD_ERR_LIMIT;
    resource = calloc(1, sizeof(*resource));
    if (!resource)
        return VD_ERR_MEMORY;
    resource->entry.id = id;
    table_add(&resources->table, &resource->entry);
    return 0;
}

void resource_destroy(struct gpu_resources *resources, struct gpu_resource *resource)
{
    resource_unback(resources, resource);
    table_remove(&resources->table, &resource->entry);
    free(resource);
}

/* Adds a piece behind the others. */
static int add(struct gpu_resource *resource, uint64_t address, uint64_t size)
{
    struct gpu_segment *next = resource->segments + resource->segment_count;

    if (!size || address + size < address)
        return VD_ERR_PARAMETER;
    if (resource->segment_count && next[-1].address + next[-1].size == address &&
        address % RESOURCE_BLOCK) {
        next[-1].size += size;
    } else {
        *next = (struct gpu_segment){address, size};
        resource->segment_count++;
    }
    resource->size += size;
    return 0;
}

int resource_back(struct gpu_resources *resources, struct gpu_resource *resource,
                  const struct iovec *iov, unsigned iov_count, size_t offset, uint32_t count)
{
    struct virtio_gpu_mem_entry entries[RESOURCE_CHUNK];
    struct gpu_segment *fitted;
    int err = 0;

    if (resource->segments || !count)
        return VD_ERR_PARAMETER;
    if (count > RESOURCE_MAX_SEGMENTS - resources->segments)
        return VD_ERR_LIMIT;
    resource->segments = calloc(count, sizeof(resource->segments[0]));
    if (!resource->segments)
        return VD_ERR_MEMORY;
    for (uint32_t done = 0; done < count && !err;) {
        uint32_t n = count - done < RESOURCE_CHUNK ? count - done : RESOURCE_CHUNK;
        size_t size = n * sizeof(entries[0]);

        if (vhost_iov_get(iov, iov_count, offset, entries, size) != size)
            err = VD_ERR_PARAMETER;
        for (uint32_t i = 0; i < n && !err; i++)
            err = add(resource, entries[i].addr, entries[i].length);
        offset += size;
        done += n;
    }
    resources->segments += resource->segment_count;
    if (err) {
        resource_unback(resources, resource);
        return err;
    }
    /* What was joined needs no room; failure keeps it. */
    fitted = realloc(resource->segments, resource->segment_count * sizeof(*fitted));
    if (fitted)
        resource->segments = fitted;
    return 0;
}

void resource_unback(struct gpu_resources *resources, struct gpu_resource *resource)
{
    resources->segments -= resource->segment_count;
    free(resource->segments);
    resource->segments = NULL;
    resource->segment_count = 0;
    resource->size = 0;
}

int resource_attach(struct gpu_resource *resource, uint32_t context)
{
    if (resource_attached(resource, context))
        return 0;
    for (size_t i = 0; i < RESOURCE_MAX_CONTEXTS; i++) {
        if (!resource->contexts[i]) {
            resource->contexts[i] = context;
            return 0;
        }
    }
    return VD_ERR_LIMIT;
}

void resource_detach(struct gpu_resource *resource, uint32_t context)
{
    for (size_t i = 0; i < RESOURCE_MAX_CONTEXTS; i++) {
        if (resource->contexts[i] == context)
            resource->contexts[i] = 0;
    }
}

bool resource_attached(const struct gpu_resource *resource, uint32_t context)
{
    for (size_t i = 0; i < RESOURCE_MAX_CONTEXTS; i++) {
        if (resource->contexts[i] == context)
            return true;
    }
    return false;
}

static void drop(void *arg, struct gpu_entry *entry)
{
    resource_destroy(arg, (struct gpu_resource *)entry);
}

void resource_finish(struct gpu_resources *resources)
{
    table_each(&resources->table, drop, resources);
}
