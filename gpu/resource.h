/* SPDX-License-Identifier: MIT */
#ifndef GPU_RESOURCE_H
#define GPU_RESOURCE_H

#include <stdbool.h>
#include <sys/uio.h>

#include "table.h"

/*
 * Resources: numbers for pages of the guest. Only where the pages are is kept here, as the guest's
 * own addresses: those stay right when its memory is mapped anew.
 */
#define RESOURCE_MAX          65536u     /* of one guest */
#define RESOURCE_MAX_SEGMENTS (1u << 20) /* pieces of memory of all of them */
#define RESOURCE_MAX_CONTEXTS 8          /* that one is attached to */

struct gpu_segment {
    uint64_t address, size;
};

struct gpu_resource {
    struct gpu_entry entry;
    struct gpu_segment *segments; /* neighbours joined */
    uint32_t segment_count;
    uint64_t size;
    uint32_t contexts[RESOURCE_MAX_CONTEXTS]; /* 0: none */
};

struct gpu_resources {
    struct gpu_table table;
    uint32_t segments; /* of all */
};

/* Entry of a request for backing, as the guest writes it; checked by resource_back. */
struct virtio_gpu_mem_entry;

/* The id is new. -VD_ERR_LIMIT, -VD_ERR_MEMORY, -VD_ERR_PARAMETER (id 0 or taken). */
int resource_create(struct gpu_resources *resources, uint32_t id);
void resource_destroy(struct gpu_resources *resources, struct gpu_resource *resource);
struct gpu_resource *resource_find(const struct gpu_resources *resources, uint32_t id);
/*
 * Gives a resource without backing its pages: `count` struct virtio_gpu_mem_entry at `offset` of
 * the request. -VD_ERR_PARAMETER, -VD_ERR_LIMIT, -VD_ERR_MEMORY: it has none then.
 */
int resource_back(struct gpu_resources *resources, struct gpu_resource *resource,
                  const struct iovec *iov, unsigned iov_count, size_t offset, uint32_t count);
void resource_unback(struct gpu_resources *resources, struct gpu_resource *resource);
/* Which contexts may use it. -VD_ERR_LIMIT. */
int resource_attach(struct gpu_resource *resource, uint32_t context);
void resource_detach(struct gpu_resource *resource, uint32_t context);
bool resource_attached(const struct gpu_resource *resource, uint32_t context);
/* Destroys all. */
void resource_finish(struct gpu_resources *resources);

#endif
