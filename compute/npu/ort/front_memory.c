/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front.h"

#define MEMORY_ALIGN 64

const struct ort_memory_info front_cpu = {.name = "Cpu"};

static void *allocate(struct ort_allocator *self, size_t size)
{
    void *memory;

    (void)self;
    return posix_memalign(&memory, MEMORY_ALIGN, size ? size : 1) ? NULL : memory;
}

static void release(struct ort_allocator *self, void *memory)
{
    (void)self;
    free(memory);
}

static const struct ort_memory_info *info(const struct ort_allocator *self)
{
    (void)self;
    return &front_cpu;
}

struct ort_allocator front_allocator = {
    .version = ORT_ABI_VERSION,
    .alloc = allocate,
    .free = release,
    .info = info,
    .reserve = allocate,
};

struct ort_status *front_give_text(struct ort_allocator *allocator, const char *text,
                                   char **ret_text)
{
    size_t size = strlen(text) + 1;
    char *copy = allocator->alloc(allocator, size);

    if (!copy)
        return front_no_memory();
    memcpy(copy, text, size);
    *ret_text = copy;
    return NULL;
}

struct ort_status *ort_CreateMemoryInfo_V2(const char *name, int device_type, uint32_t vendor_id,
                                           int32_t device_id, int mem_type, size_t alignment,
                                           int allocator_type, struct ort_memory_info **out)
{
    struct ort_memory_info *made = calloc(1, sizeof(*made));

    (void)alignment;
    if (!made)
        return front_no_memory();
    snprintf(made->name, sizeof(made->name), "%s", name);
    made->device_type = device_type;
    made->vendor = vendor_id;
    made->id = device_id;
    made->device_mem_type = mem_type;
    made->allocator_type = allocator_type;
    *out = made;
    return NULL;
}

struct ort_status *ort_CreateMemoryInfo(const char *name, int type, int id, int mem_type,
                                        struct ort_memory_info **out)
{
    struct ort_status *status = ort_CreateMemoryInfo_V2(name, 0, 0, id, 0, 0, type, out);

    if (!status)
        (*out)->mem_type = mem_type;
    return status;
}

struct ort_status *ort_CreateCpuMemoryInfo(int type, int mem_type, struct ort_memory_info **out)
{
    return ort_CreateMemoryInfo("Cpu", type, 0, mem_type, out);
}

void ort_ReleaseMemoryInfo(struct ort_memory_info *input)
{
    free(input);
}

struct ort_status *ort_CompareMemoryInfo(const struct ort_memory_info *info1,
                                         const struct ort_memory_info *info2, int *out)
{
    bool same = !strcmp(info1->name, info2->name) && info1->id == info2->id &&
                info1->mem_type == info2->mem_type &&
                info1->allocator_type == info2->allocator_type;

    *out = same ? 0 : -1;
    return NULL;
}

struct ort_status *ort_MemoryInfoGetName(const struct ort_memory_info *ptr, const char **out)
{
    *out = ptr->name;
    return NULL;
}

struct ort_status *ort_MemoryInfoGetId(const struct ort_memory_info *ptr, int *out)
{
    *out = ptr->id;
    return NULL;
}

struct ort_status *ort_MemoryInfoGetMemType(const struct ort_memory_info *ptr, int *out)
{
    *out = ptr->mem_type;
    return NULL;
}

struct ort_status *ort_MemoryInfoGetType(const struct ort_memory_info *ptr, int *out)
{
    *out = ptr->allocator_type;
    return NULL;
}

void ort_MemoryInfoGetDeviceType(const struct ort_memory_info *ptr, int *out)
{
    *out = ptr->device_type;
}

int ort_MemoryInfoGetDeviceMemType(const struct ort_memory_info *ptr)
{
    return ptr->device_mem_type;
}

uint32_t ort_MemoryInfoGetVendorId(const struct ort_memory_info *ptr)
{
    return ptr->vendor;
}

struct ort_status *ort_AllocatorAlloc(struct ort_allocator *ort_allocator, size_t size, void **out)
{
    *out = ort_allocator->alloc(ort_allocator, size);
    return *out || !size ? NULL : front_no_memory();
}

struct ort_status *ort_AllocatorFree(struct ort_allocator *ort_allocator, void *p)
{
    ort_allocator->free(ort_allocator, p);
    return NULL;
}

struct ort_status *ort_AllocatorGetInfo(const struct ort_allocator *ort_allocator,
                                        const struct ort_memory_info **out)
{
    *out = ort_allocator->info(ort_allocator);
    return NULL;
}

struct ort_status *ort_GetAllocatorWithDefaultOptions(struct ort_allocator **out)
{
    *out = &front_allocator;
    return NULL;
}

/* All memory of a session is the program's own: there is one allocator. */
struct ort_status *ort_CreateAllocator(const struct ort_session *session,
                                       const struct ort_memory_info *mem_info,
                                       struct ort_allocator **out)
{
    (void)session;
    if (mem_info->device_type)
        return front_status(ORT_INVALID_ARGUMENT, "there is no memory called %s here",
                            mem_info->name);
    *out = &front_allocator;
    return NULL;
}

void ort_ReleaseAllocator(struct ort_allocator *input)
{
    (void)input;
}

/* An arena's limits are kept by nobody: the allocator is the system's. */
struct ort_arena_cfg {
    int nothing;
};

struct ort_status *ort_CreateArenaCfg(size_t max_mem, int arena_extend_strategy,
                                      int initial_chunk_size_bytes, int max_dead_bytes_per_chunk,
                                      struct ort_arena_cfg **out)
{
    (void)max_mem, (void)arena_extend_strategy;
    (void)initial_chunk_size_bytes, (void)max_dead_bytes_per_chunk;
    *out = calloc(1, sizeof(**out));
    return *out ? NULL : front_no_memory();
}

struct ort_status *ort_CreateArenaCfgV2(const char *const *arena_config_keys,
                                        const size_t *arena_config_values, size_t num_keys,
                                        struct ort_arena_cfg **out)
{
    (void)arena_config_keys, (void)arena_config_values, (void)num_keys;
    return ort_CreateArenaCfg(0, 0, 0, 0, out);
}

void ort_ReleaseArenaCfg(struct ort_arena_cfg *input)
{
    free(input);
}

struct ort_status *ort_CreateAndRegisterAllocator(struct ort_env *env,
                                                  const struct ort_memory_info *mem_info,
                                                  const struct ort_arena_cfg *arena_cfg)
{
    (void)env, (void)mem_info, (void)arena_cfg;
    return NULL;
}

struct ort_status *ort_CreateAndRegisterAllocatorV2(struct ort_env *env, const char *provider_type,
                                                    const struct ort_memory_info *mem_info,
                                                    const struct ort_arena_cfg *arena_cfg,
                                                    const char *const *keys,
                                                    const char *const *values, size_t num_keys)
{
    (void)provider_type, (void)keys, (void)values, (void)num_keys;
    return ort_CreateAndRegisterAllocator(env, mem_info, arena_cfg);
}

/* Sessions would share it: theirs is at the host. */
struct ort_status *ort_RegisterAllocator(struct ort_env *env, struct ort_allocator *allocator)
{
    (void)env, (void)allocator;
    return NULL;
}

struct ort_status *ort_UnregisterAllocator(struct ort_env *env,
                                           const struct ort_memory_info *mem_info)
{
    (void)env, (void)mem_info;
    return NULL;
}

/* It counts nothing. */
struct ort_status *ort_AllocatorGetStats(const struct ort_allocator *allocator,
                                         struct ort_key_value_pairs **out)
{
    (void)allocator;
    ort_CreateKeyValuePairs(out);
    return *out ? NULL : front_no_memory();
}
