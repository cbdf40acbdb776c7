/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "advice.h"
#include "graph.h"

/*
 * What programs say to make things fast on a device of NVIDIA's, and what nothing here becomes
 * faster by: advice on managed memory, which is one memory for all at all times, windows of the
 * cache, banks of shared memory, a profiler. Arguments are checked; what can be read back is kept.
 */

/* Managed memory, all of it one allocation's; NULL: it is not. */
static struct range *find_managed(CUdeviceptr address, size_t count)
{
    struct range *r = range_find(address);

    return r && r->kind == RANGE_MANAGED && count && count <= r->size - (address - r->address)
               ? r
               : NULL;
}

static bool is_place(CUmemLocation place)
{
    switch ((int)place.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return place.id >= 0 && (unsigned)place.id < device_count();
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
        return true;
    default:
        return false;
    }
}

/* What the first forms of these functions say by a device's number. */
static CUmemLocation place_of(CUdevice device)
{
    return device == CU_DEVICE_CPU ? (CUmemLocation){CU_MEM_LOCATION_TYPE_HOST, 0}
                                   : (CUmemLocation){CU_MEM_LOCATION_TYPE_DEVICE, device};
}

static CUresult advise(CUdeviceptr address, size_t count, CUmem_advise advice, CUmemLocation place,
                       CUresult no_place)
{
    CUresult err = enter();
    struct range *r;

    if (err)
        return err;
    r = find_managed(address, count);
    if (!r)
        err = CUDA_ERROR_INVALID_VALUE;
    switch (advice) {
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
    case CU_MEM_ADVISE_SET_ACCESSED_BY:
    case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
        if (!err && !is_place(place))
            err = no_place;
        break;
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
        break;
    default:
        err = CUDA_ERROR_INVALID_VALUE;
    }
    return leave(err ? err : advice_set(r, address, count, advice, place));
}

API cuMemAdvise(CUdeviceptr address, size_t count, CUmem_advise advice, CUdevice device)
{
    return advise(address, count, advice, place_of(device), CUDA_ERROR_INVALID_DEVICE);
}

API cuMemAdvise_v2(CUdeviceptr address, size_t count, CUmem_advise advice, CUmemLocation place)
{
    return advise(address, count, advice, place, CUDA_ERROR_INVALID_VALUE);
}

static CUresult prefetch(CUdeviceptr address, size_t count, CUmemLocation place, CUresult no_place,
                         CUstream stream)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);
    struct range *r;

    if (err)
        return err;
    r = find_managed(address, count);
    if (!r)
        err = CUDA_ERROR_INVALID_VALUE;
    else if (!is_place(place))
        err = no_place;
    return leave(err ? err : advice_prefetched(r, address, count, place));
}

API cuMemPrefetchAsync(CUdeviceptr address, size_t count, CUdevice device, CUstream stream)
{
    return prefetch(address, count, place_of(device), CUDA_ERROR_INVALID_DEVICE, stream);
}

API cuMemPrefetchAsync_v2(CUdeviceptr address, size_t count, CUmemLocation place, unsigned flags,
                          CUstream stream)
{
    return flags ? CUDA_ERROR_INVALID_VALUE
                 : prefetch(address, count, place, CUDA_ERROR_INVALID_VALUE, stream);
}

/* Several at once, of which none is prefetched if one is wrong. `places` is NULL: they are
 * discarded, which leaves in them whatever is there. */
static CUresult batch(CUdeviceptr *addresses, size_t *sizes, size_t count, CUmemLocation *places,
                      size_t *firsts, size_t place_count, unsigned long long flags, CUstream stream)
{
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    if (s->capture)
        return leave(capture_refuse(s));
    if (!addresses || !sizes || !count || flags ||
        (places && (!firsts || !place_count || place_count > count || firsts[0])))
        return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < place_count; i++)
        if (!is_place(places[i]) || firsts[i] >= count || (i && firsts[i] <= firsts[i - 1]))
            return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < count; i++)
        if (!find_managed(addresses[i], sizes[i]))
            return leave(CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0, at = 0; i < count && places && !err; i++) {
        if (at + 1 < place_count && firsts[at + 1] == i)
            at++;
        err = advice_prefetched(find_managed(addresses[i], sizes[i]), addresses[i], sizes[i],
                                places[at]);
    }
    return leave(err);
}

API cuMemPrefetchBatchAsync(CUdeviceptr *addresses, size_t *sizes, size_t count,
                            CUmemLocation *places, size_t *firsts, size_t place_count,
                            unsigned long long flags, CUstream stream)
{
    return places ? batch(addresses, sizes, count, places, firsts, place_count, flags, stream)
                  : CUDA_ERROR_INVALID_VALUE;
}

API cuMemDiscardBatchAsync(CUdeviceptr *addresses, size_t *sizes, size_t count,
                           unsigned long long flags, CUstream stream)
{
    return batch(addresses, sizes, count, NULL, NULL, 0, flags, stream);
}

API cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr *addresses, size_t *sizes, size_t count,
                                      CUmemLocation *places, size_t *firsts, size_t place_count,
                                      unsigned long long flags, CUstream stream)
{
    return cuMemPrefetchBatchAsync(addresses, sizes, count, places, firsts, place_count, flags,
                                   stream);
}

bool hints_window_is_sane(const CUaccessPolicyWindow *w)
{
    return w->hitRatio >= 0 && w->hitRatio <= 1 && w->missProp != CU_ACCESS_PROPERTY_PERSISTING &&
           (w->base_ptr || !w->num_bytes);
}

/* Where a stream keeps an attribute that can be set; NULL: there is none of that number. */
static CUlaunchAttributeValue *attribute_of(struct CUstream_st *s, CUlaunchAttributeID id)
{
    switch (id) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
        return &s->attributes[0];
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
        return &s->attributes[1];
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
        return &s->attributes[2];
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
        return &s->attributes[3];
    default:
        return NULL;
    }
}

API cuStreamGetAttribute(CUstream stream, CUlaunchAttributeID id, CUlaunchAttributeValue *value)
{
    CUlaunchAttributeValue *kept;
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    kept = attribute_of(s, id);
    if (!value || (!kept && id != CU_LAUNCH_ATTRIBUTE_PRIORITY))
        return leave(CUDA_ERROR_INVALID_VALUE);
    if (kept) {
        *value = *kept;
    } else {
        memset(value, 0, sizeof(*value));
        value->priority = s->priority;
    }
    return leave(CUDA_SUCCESS);
}

/* The priority is the queue's, and stays. */
API cuStreamSetAttribute(CUstream stream, CUlaunchAttributeID id,
                         const CUlaunchAttributeValue *value)
{
    CUlaunchAttributeValue *kept;
    struct CUstream_st *s;
    CUresult err = enter_stream(stream, &s);

    if (err)
        return err;
    kept = attribute_of(s, id);
    if (!value || !kept ||
        (id == CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW &&
         !hints_window_is_sane(&value->accessPolicyWindow)))
        return leave(CUDA_ERROR_INVALID_VALUE);
    *kept = *value;
    return leave(CUDA_SUCCESS);
}

API cuStreamCopyAttributes(CUstream to, CUstream from)
{
    struct CUstream_st *t, *f;
    CUresult err = enter_stream(to, &t);

    if (err)
        return err;
    err = stream_find(from, &f);
    if (!err)
        memcpy(t->attributes, f->attributes, sizeof(t->attributes));
    return leave(err);
}

/* Shared memory has no banks: programs are told of those of four bytes. */
API cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    if (!config)
        return leave(CUDA_ERROR_INVALID_VALUE);
    *config = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
    return leave(CUDA_SUCCESS);
}

API cuCtxSetSharedMemConfig(CUsharedconfig config)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    if (err)
        return err;
    return leave((unsigned)config <= CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE
                     ? CUDA_SUCCESS
                     : CUDA_ERROR_INVALID_VALUE);
}

API cuCtxResetPersistingL2Cache(void)
{
    struct CUctx_st *c;
    CUresult err = enter_context(&c);

    return err ? err : leave(CUDA_SUCCESS);
}

/* No profiler is there that these would start and stop. */
API cuProfilerStart(void)
{
    return cuCtxResetPersistingL2Cache();
}

API cuProfilerStop(void)
{
    return cuCtxResetPersistingL2Cache();
}
