/* SPDX-License-Identifier: MIT */
#include "runtime.h"

/* Arrays, textures, surfaces. */

#define ADDRESS(pointer) ((CUdeviceptr)(uintptr_t)(pointer))

struct resource_desc {
    int type; /* as CUresourcetype */
    union {
        CUarray array;
        CUmipmappedArray mipmap;
        struct {
            void *memory;
            struct channel_desc desc;
            size_t size;
        } linear;
        struct {
            void *memory;
            struct channel_desc desc;
            size_t width, height, pitch;
        } pitch2d;
        int reserved[32];
    } res;
    unsigned flags;
};

struct texture_desc {
    int address_mode[3];
    int filter_mode, read_mode, srgb;
    float border[4];
    int normalized;
    unsigned anisotropy;
    int mipmap_filter;
    float bias, least, most;
    int no_trilinear_optimization, seamless_cubemap;
};

/* As the driver API's, which may have more behind it. */
struct view_desc {
    unsigned format;
    size_t width, height, depth;
    unsigned first_level, last_level, first_layer, last_layer;
#if CUDART_MAJOR > 12
    unsigned reserved[16];
#endif
};

int texture_format(const struct channel_desc *d, unsigned *ret_channels)
{
    static const int formats[3][3] = {
        {CU_AD_FORMAT_SIGNED_INT8, CU_AD_FORMAT_SIGNED_INT16, CU_AD_FORMAT_SIGNED_INT32},
        {CU_AD_FORMAT_UNSIGNED_INT8, CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_UNSIGNED_INT32},
        {-1, CU_AD_FORMAT_HALF, CU_AD_FORMAT_FLOAT}};
    int bits = d->x == 8 ? 0 : d->x == 16 ? 1 : d->x == 32 ? 2 : -1;

    *ret_channels = d->w ? 4 : d->z ? 3 : d->y ? 2 : 1;
    if (bits < 0 || d->kind < 0 || d->kind > 2 || (d->y && d->y != d->x) ||
        (d->z && d->z != d->x) || (d->w && d->w != d->x) || (d->w && !d->z) || (d->z && !d->y))
        return -1;
    return formats[d->kind][bits];
}

static struct channel_desc channels_of(CUarray_format format, unsigned channels)
{
    int bits = 32, kind = 2;

    switch (format) {
    case CU_AD_FORMAT_SIGNED_INT8:
    case CU_AD_FORMAT_UNSIGNED_INT8:
        bits = 8;
        break;
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_HALF:
        bits = 16;
        break;
    default:
        break;
    }
    if (format < CU_AD_FORMAT_HALF)
        kind = format >= CU_AD_FORMAT_SIGNED_INT8 ? 0 : 1;
    return (struct channel_desc){bits, channels > 1 ? bits : 0, channels > 2 ? bits : 0,
                                 channels > 3 ? bits : 0, kind};
}

RT struct channel_desc cudaCreateChannelDesc(int x, int y, int z, int w, int kind);
RT struct channel_desc cudaCreateChannelDesc(int x, int y, int z, int w, int kind)
{
    return (struct channel_desc){x, y, z, w, kind};
}

static cudaError_t array_make(CUarray *array, const struct channel_desc *desc, struct extent extent,
                              unsigned flags)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {
        .Width = extent.width, .Height = extent.height, .Depth = extent.depth, .Flags = flags};
    cudaError_t err = runtime_enter();
    int format = desc ? texture_format(desc, &d.NumChannels) : -1;

    if (!err && (format < 0 || !array))
        err = RT_INVALID_VALUE;
    d.Format = (CUarray_format)format;
    if (!err)
        err = (int)cuArray3DCreate_v2(array, &d);
    return runtime_leave(err);
}

RT cudaError_t cudaMallocArray(CUarray *array, const struct channel_desc *desc, size_t width,
                               size_t height, unsigned flags);
RT cudaError_t cudaMallocArray(CUarray *array, const struct channel_desc *desc, size_t width,
                               size_t height, unsigned flags)
{
    return array_make(array, desc, (struct extent){width, height, 0}, flags);
}

RT cudaError_t cudaMalloc3DArray(CUarray *array, const struct channel_desc *desc,
                                 struct extent extent, unsigned flags);
RT cudaError_t cudaMalloc3DArray(CUarray *array, const struct channel_desc *desc,
                                 struct extent extent, unsigned flags)
{
    return array_make(array, desc, extent, flags);
}

RT cudaError_t cudaFreeArray(CUarray array);
RT cudaError_t cudaFreeArray(CUarray array)
{
    RT_RETURN(array ? cuArrayDestroy(array) : CUDA_SUCCESS);
}

RT cudaError_t cudaArrayGetInfo(struct channel_desc *desc, struct extent *extent, unsigned *flags,
                                CUarray array);
RT cudaError_t cudaArrayGetInfo(struct channel_desc *desc, struct extent *extent, unsigned *flags,
                                CUarray array)
{
    CUDA_ARRAY3D_DESCRIPTOR d;
    cudaError_t err = runtime_enter();

    if (!err)
        err = (int)cuArray3DGetDescriptor_v2(&d, array);
    if (err)
        return runtime_leave(err);
    if (desc)
        *desc = channels_of(d.Format, d.NumChannels);
    if (extent)
        *extent = (struct extent){d.Width, d.Height, d.Depth};
    if (flags)
        *flags = d.Flags;
    return 0;
}

RT cudaError_t cudaGetChannelDesc(struct channel_desc *desc, CUarray array);
RT cudaError_t cudaGetChannelDesc(struct channel_desc *desc, CUarray array)
{
    return desc ? cudaArrayGetInfo(desc, NULL, NULL, array) : runtime_leave(RT_INVALID_VALUE);
}

/* Copies: x and width are bytes. An array has no pitch. */
static cudaError_t copy_array(CUDA_MEMCPY2D *c, size_t width, size_t height, int kind,
                              CUstream stream, bool wait)
{
    bool to_array = c->dstMemoryType == CU_MEMORYTYPE_ARRAY;
    size_t pitch = height > 1 ? to_array ? c->srcPitch : c->dstPitch : width;
    cudaError_t err = memory_refuse_2d(kind, width, pitch, pitch);

    if (!(to_array ? c->dstArray : c->srcArray))
        err = RT_INVALID_HANDLE;
    c->WidthInBytes = width;
    c->Height = height;
    RT_RETURN(err    ? (CUresult)err
              : wait ? cuMemcpy2DUnaligned_v2(c)
                     : cuMemcpy2DAsync_v2(c, stream));
}

static CUDA_MEMCPY2D to_array(CUarray to, size_t x, size_t y, const void *from, size_t pitch,
                              int kind)
{
    return (CUDA_MEMCPY2D){.srcMemoryType = kind == RT_HOST_TO_DEVICE     ? CU_MEMORYTYPE_HOST
                                            : kind == RT_DEVICE_TO_DEVICE ? CU_MEMORYTYPE_DEVICE
                                                                          : CU_MEMORYTYPE_UNIFIED,
                           .srcHost = from,
                           .srcDevice = ADDRESS(from),
                           .srcPitch = pitch,
                           .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                           .dstArray = to,
                           .dstXInBytes = x,
                           .dstY = y};
}

static CUDA_MEMCPY2D from_array(void *to, size_t pitch, CUarray from, size_t x, size_t y, int kind)
{
    return (CUDA_MEMCPY2D){.dstMemoryType = kind == RT_DEVICE_TO_HOST     ? CU_MEMORYTYPE_HOST
                                            : kind == RT_DEVICE_TO_DEVICE ? CU_MEMORYTYPE_DEVICE
                                                                          : CU_MEMORYTYPE_UNIFIED,
                           .dstHost = to,
                           .dstDevice = ADDRESS(to),
                           .dstPitch = pitch,
                           .srcMemoryType = CU_MEMORYTYPE_ARRAY,
                           .srcArray = from,
                           .srcXInBytes = x,
                           .srcY = y};
}

#define TO_ARRAY_2D \
    CUarray to, size_t x, size_t y, const void *from, size_t pitch, size_t width, size_t height

RT cudaError_t cudaMemcpy2DToArray(TO_ARRAY_2D, int kind);
RT cudaError_t cudaMemcpy2DToArray(TO_ARRAY_2D, int kind)
{
    CUDA_MEMCPY2D c = to_array(to, x, y, from, pitch, kind);

    return copy_array(&c, width, height, kind, NULL, true);
}

RT cudaError_t cudaMemcpy2DToArrayAsync(TO_ARRAY_2D, int kind, CUstream stream);
RT cudaError_t cudaMemcpy2DToArrayAsync(TO_ARRAY_2D, int kind, CUstream stream)
{
    CUDA_MEMCPY2D c = to_array(to, x, y, from, pitch, kind);

    return copy_array(&c, width, height, kind, stream, false);
}

#define FROM_ARRAY_2D \
    void *to, size_t pitch, CUarray from, size_t x, size_t y, size_t width, size_t height

RT cudaError_t cudaMemcpy2DFromArray(FROM_ARRAY_2D, int kind);
RT cudaError_t cudaMemcpy2DFromArray(FROM_ARRAY_2D, int kind)
{
    CUDA_MEMCPY2D c = from_array(to, pitch, from, x, y, kind);

    return copy_array(&c, width, height, kind, NULL, true);
}

RT cudaError_t cudaMemcpy2DFromArrayAsync(FROM_ARRAY_2D, int kind, CUstream stream);
RT cudaError_t cudaMemcpy2DFromArrayAsync(FROM_ARRAY_2D, int kind, CUstream stream)
{
    CUDA_MEMCPY2D c = from_array(to, pitch, from, x, y, kind);

    return copy_array(&c, width, height, kind, stream, false);
}

#define BETWEEN_ARRAYS_2D                                                                 \
    CUarray to, size_t to_x, size_t to_y, CUarray from, size_t x, size_t y, size_t width, \
        size_t height, int kind

static cudaError_t copy_between(BETWEEN_ARRAYS_2D, CUstream stream)
{
    CUDA_MEMCPY2D c = from_array(NULL, 0, from, x, y, kind);

    c.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    c.dstArray = to;
    c.dstXInBytes = to_x;
    c.dstY = to_y;
    c.srcPitch = width; /* arrays have their own */
    /* Within a device copies do not wait. */
    return copy_array(&c, width, height, kind, stream, false);
}

RT cudaError_t cudaMemcpy2DArrayToArray(BETWEEN_ARRAYS_2D);
RT cudaError_t cudaMemcpy2DArrayToArray(BETWEEN_ARRAYS_2D)
{
    return copy_between(to, to_x, to_y, from, x, y, width, height, kind, NULL);
}

RT cudaError_t cudaMemcpy2DArrayToArray_ptds(BETWEEN_ARRAYS_2D);
RT cudaError_t cudaMemcpy2DArrayToArray_ptds(BETWEEN_ARRAYS_2D)
{
    return copy_between(to, to_x, to_y, from, x, y, width, height, kind, RT_PER_THREAD);
}

/* So many bytes of an array, row after row: the rest of the first, whole ones, part of the last. */
static cudaError_t copy_rows(CUarray array, size_t x, size_t y, uint8_t *memory, size_t count,
                             int kind, bool to, CUstream stream, bool wait)
{
    struct channel_desc desc;
    struct extent extent;
    cudaError_t err = cudaArrayGetInfo(&desc, &extent, NULL, array);
    size_t row;

    if (err)
        return err;
    row = extent.width * (size_t)(desc.x + desc.y + desc.z + desc.w) / 8;
    while (!err && count) {
        size_t rows = x || count < row ? 1 : count / row;
        size_t width = count < row - x ? count : row - x;
        CUDA_MEMCPY2D c;

        if (x >= row)
            return runtime_leave(RT_INVALID_VALUE);
        c = to ? to_array(array, x, y, memory, row, kind)
               : from_array(memory, row, array, x, y, kind);
        if (rows == 1)
            c.srcPitch = c.dstPitch = 0;
        err = copy_array(&c, width, rows, kind, stream, wait);
        memory += width * rows;
        count -= width * rows;
        y += rows;
        x = 0;
    }
    return err;
}

RT cudaError_t cudaMemcpyToArray(CUarray to, size_t x, size_t y, const void *from, size_t count,
                                 int kind);
RT cudaError_t cudaMemcpyToArray(CUarray to, size_t x, size_t y, const void *from, size_t count,
                                 int kind)
{
    return copy_rows(to, x, y, (uint8_t *)(uintptr_t)from, count, kind, true, NULL, true);
}

RT cudaError_t cudaMemcpyToArrayAsync(CUarray to, size_t x, size_t y, const void *from,
                                      size_t count, int kind, CUstream stream);
RT cudaError_t cudaMemcpyToArrayAsync(CUarray to, size_t x, size_t y, const void *from,
                                      size_t count, int kind, CUstream stream)
{
    return copy_rows(to, x, y, (uint8_t *)(uintptr_t)from, count, kind, true, stream, false);
}

RT cudaError_t cudaMemcpyFromArray(void *to, CUarray from, size_t x, size_t y, size_t count,
                                   int kind);
RT cudaError_t cudaMemcpyFromArray(void *to, CUarray from, size_t x, size_t y, size_t count,
                                   int kind)
{
    return copy_rows(from, x, y, to, count, kind, false, NULL, true);
}

RT cudaError_t cudaMemcpyFromArrayAsync(void *to, CUarray from, size_t x, size_t y, size_t count,
                                        int kind, CUstream stream);
RT cudaError_t cudaMemcpyFromArrayAsync(void *to, CUarray from, size_t x, size_t y, size_t count,
                                        int kind, CUstream stream)
{
    return copy_rows(from, x, y, to, count, kind, false, stream, false);
}

/* Objects. */
static cudaError_t driver_resource(const struct resource_desc *r, CUDA_RESOURCE_DESC *ret)
{
    const struct channel_desc *desc = NULL;
    unsigned channels = 0;
    int format = 0;

    if (!r)
        return RT_INVALID_VALUE;
    *ret = (CUDA_RESOURCE_DESC){.resType = (CUresourcetype)r->type, .flags = r->flags};
    switch (r->type) {
    case CU_RESOURCE_TYPE_ARRAY:
        ret->res.array.hArray = r->res.array;
        return 0;
    case CU_RESOURCE_TYPE_LINEAR:
        desc = &r->res.linear.desc;
        break;
    case CU_RESOURCE_TYPE_PITCH2D:
        desc = &r->res.pitch2d.desc;
        break;
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        ret->res.mipmap.hMipmappedArray = r->res.mipmap;
        return 0;
    default:
        return RT_INVALID_VALUE;
    }
    format = texture_format(desc, &channels);
    if (format < 0)
        return RT_INVALID_VALUE;
    if (r->type == CU_RESOURCE_TYPE_LINEAR) {
        ret->res.linear.devPtr = ADDRESS(r->res.linear.memory);
        ret->res.linear.format = (CUarray_format)format;
        ret->res.linear.numChannels = channels;
        ret->res.linear.sizeInBytes = r->res.linear.size;
    } else {
        ret->res.pitch2D.devPtr = ADDRESS(r->res.pitch2d.memory);
        ret->res.pitch2D.format = (CUarray_format)format;
        ret->res.pitch2D.numChannels = channels;
        ret->res.pitch2D.width = r->res.pitch2d.width;
        ret->res.pitch2D.height = r->res.pitch2d.height;
        ret->res.pitch2D.pitchInBytes = r->res.pitch2d.pitch;
    }
    return 0;
}

static struct resource_desc runtime_resource(const CUDA_RESOURCE_DESC *r)
{
    struct resource_desc out = {.type = (int)r->resType};

    if (r->resType == CU_RESOURCE_TYPE_ARRAY) {
        out.res.array = r->res.array.hArray;
    } else if (r->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY) {
        out.res.mipmap = r->res.mipmap.hMipmappedArray;
    } else if (r->resType == CU_RESOURCE_TYPE_LINEAR) {
        out.res.linear.memory = (void *)(uintptr_t)r->res.linear.devPtr;
        out.res.linear.desc = channels_of(r->res.linear.format, r->res.linear.numChannels);
        out.res.linear.size = r->res.linear.sizeInBytes;
    } else {
        out.res.pitch2d.memory = (void *)(uintptr_t)r->res.pitch2D.devPtr;
        out.res.pitch2d.desc = channels_of(r->res.pitch2D.format, r->res.pitch2D.numChannels);
        out.res.pitch2d.width = r->res.pitch2D.width;
        out.res.pitch2d.height = r->res.pitch2D.height;
        out.res.pitch2d.pitch = r->res.pitch2D.pitchInBytes;
    }
    return out;
}

RT cudaError_t cudaCreateTextureObject(CUtexObject *object, const struct resource_desc *resource,
                                       const struct texture_desc *texture,
                                       const struct view_desc *view);
RT cudaError_t cudaCreateTextureObject(CUtexObject *object, const struct resource_desc *resource,
                                       const struct texture_desc *texture,
                                       const struct view_desc *view)
{
    CUDA_RESOURCE_VIEW_DESC v;
    CUDA_RESOURCE_DESC r;
    CUDA_TEXTURE_DESC t = {.flags = 0};
    cudaError_t err = runtime_enter();

    if (!err)
        err = driver_resource(resource, &r);
    if (!err && !texture)
        err = RT_INVALID_VALUE;
    if (err)
        return runtime_leave(err);
    for (unsigned i = 0; i < 3; i++)
        t.addressMode[i] = (CUaddress_mode)texture->address_mode[i];
    for (unsigned i = 0; i < 4; i++)
        t.borderColor[i] = texture->border[i];
    t.filterMode = (CUfilter_mode)texture->filter_mode;
    t.flags = (texture->read_mode ? 0 : CU_TRSF_READ_AS_INTEGER) |
              (texture->normalized ? CU_TRSF_NORMALIZED_COORDINATES : 0) |
              (texture->srgb ? CU_TRSF_SRGB : 0) |
              (texture->no_trilinear_optimization ? CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION : 0) |
              (texture->seamless_cubemap ? CU_TRSF_SEAMLESS_CUBEMAP : 0);
    t.maxAnisotropy = texture->anisotropy;
    t.mipmapFilterMode = (CUfilter_mode)texture->mipmap_filter;
    t.mipmapLevelBias = texture->bias;
    t.minMipmapLevelClamp = texture->least;
    t.maxMipmapLevelClamp = texture->most;
    if (view)
        v = (CUDA_RESOURCE_VIEW_DESC){.format = view->format,
                                      .width = view->width,
                                      .height = view->height,
                                      .depth = view->depth,
                                      .firstMipmapLevel = view->first_level,
                                      .lastMipmapLevel = view->last_level,
                                      .firstLayer = view->first_layer,
                                      .lastLayer = view->last_layer};
    return runtime_leave((int)cuTexObjectCreate(object, &r, &t, view ? &v : NULL));
}

RT cudaError_t cudaDestroyTextureObject(CUtexObject object);
RT cudaError_t cudaDestroyTextureObject(CUtexObject object)
{
    RT_RETURN(object ? cuTexObjectDestroy(object) : CUDA_SUCCESS);
}

RT cudaError_t cudaGetTextureObjectResourceDesc(struct resource_desc *resource, CUtexObject object);
RT cudaError_t cudaGetTextureObjectResourceDesc(struct resource_desc *resource, CUtexObject object)
{
    CUDA_RESOURCE_DESC r;
    cudaError_t err = runtime_enter();

    if (!err)
        err = resource ? (int)cuTexObjectGetResourceDesc(&r, object) : RT_INVALID_VALUE;
    if (!err)
        *resource = runtime_resource(&r);
    return runtime_leave(err);
}

RT cudaError_t cudaGetTextureObjectTextureDesc(struct texture_desc *texture, CUtexObject object);
RT cudaError_t cudaGetTextureObjectTextureDesc(struct texture_desc *texture, CUtexObject object)
{
    CUDA_TEXTURE_DESC t;
    cudaError_t err = runtime_enter();

    if (!err)
        err = texture ? (int)cuTexObjectGetTextureDesc(&t, object) : RT_INVALID_VALUE;
    if (err)
        return runtime_leave(err);
    *texture = (struct texture_desc){
        .filter_mode = (int)t.filterMode,
        .read_mode = !(t.flags & CU_TRSF_READ_AS_INTEGER),
        .srgb = !!(t.flags & CU_TRSF_SRGB),
        .seamless_cubemap = !!(t.flags & CU_TRSF_SEAMLESS_CUBEMAP),
        .normalized = !!(t.flags & CU_TRSF_NORMALIZED_COORDINATES),
        .anisotropy = t.maxAnisotropy,
        .mipmap_filter = (int)t.mipmapFilterMode,
        .bias = t.mipmapLevelBias,
        .least = t.minMipmapLevelClamp,
        .most = t.maxMipmapLevelClamp,
        .no_trilinear_optimization = !!(t.flags & CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION),
    };
    for (unsigned i = 0; i < 3; i++)
        texture->address_mode[i] = (int)t.addressMode[i];
    for (unsigned i = 0; i < 4; i++)
        texture->border[i] = t.borderColor[i];
    return 0;
}

RT cudaError_t cudaGetTextureObjectResourceViewDesc(struct view_desc *view, CUtexObject object);
RT cudaError_t cudaGetTextureObjectResourceViewDesc(struct view_desc *view, CUtexObject object)
{
    CUDA_RESOURCE_VIEW_DESC v;
    cudaError_t err = runtime_enter();

    if (!err)
        err = view ? (int)cuTexObjectGetResourceViewDesc(&v, object) : RT_INVALID_VALUE;
    if (!err)
        *view = (struct view_desc){.format = v.format,
                                   .width = v.width,
                                   .height = v.height,
                                   .depth = v.depth,
                                   .first_level = v.firstMipmapLevel,
                                   .last_level = v.lastMipmapLevel,
                                   .first_layer = v.firstLayer,
                                   .last_layer = v.lastLayer};
    return runtime_leave(err);
}

RT cudaError_t cudaCreateSurfaceObject(CUsurfObject *object, const struct resource_desc *resource);
RT cudaError_t cudaCreateSurfaceObject(CUsurfObject *object, const struct resource_desc *resource)
{
    CUDA_RESOURCE_DESC r;
    cudaError_t err = runtime_enter();

    if (!err)
        err = driver_resource(resource, &r);
    return runtime_leave(err ? err : (int)cuSurfObjectCreate(object, &r));
}

RT cudaError_t cudaDestroySurfaceObject(CUsurfObject object);
RT cudaError_t cudaDestroySurfaceObject(CUsurfObject object)
{
    RT_RETURN(object ? cuSurfObjectDestroy(object) : CUDA_SUCCESS);
}

RT cudaError_t cudaGetSurfaceObjectResourceDesc(struct resource_desc *resource,
                                                CUsurfObject object);
RT cudaError_t cudaGetSurfaceObjectResourceDesc(struct resource_desc *resource, CUsurfObject object)
{
    CUDA_RESOURCE_DESC r;
    cudaError_t err = runtime_enter();

    if (!err)
        err = resource ? (int)cuSurfObjectGetResourceDesc(&r, object) : RT_INVALID_VALUE;
    if (!err)
        *resource = runtime_resource(&r);
    return runtime_leave(err);
}
