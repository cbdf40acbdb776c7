/* SPDX-License-Identifier: MIT */
#include "runtime.h"

/* Mipmapped arrays, and what is asked of arrays of kinds that there are not. */

RT cudaError_t cudaMallocMipmappedArray(CUmipmappedArray *mipmap, const struct channel_desc *desc,
                                        struct extent extent, unsigned levels, unsigned flags);
RT cudaError_t cudaMallocMipmappedArray(CUmipmappedArray *mipmap, const struct channel_desc *desc,
                                        struct extent extent, unsigned levels, unsigned flags)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {
        .Width = extent.width, .Height = extent.height, .Depth = extent.depth, .Flags = flags};
    int format = desc ? texture_format(desc, &d.NumChannels) : -1;

    d.Format = (CUarray_format)format;
    RT_RETURN(format < 0 ? CUDA_ERROR_INVALID_VALUE : cuMipmappedArrayCreate(mipmap, &d, levels));
}

RT cudaError_t cudaFreeMipmappedArray(CUmipmappedArray mipmap);
RT cudaError_t cudaFreeMipmappedArray(CUmipmappedArray mipmap)
{
    RT_RETURN(mipmap ? cuMipmappedArrayDestroy(mipmap) : CUDA_SUCCESS);
}

RT cudaError_t cudaGetMipmappedArrayLevel(CUarray *array, CUmipmappedArray mipmap, unsigned level);
RT cudaError_t cudaGetMipmappedArrayLevel(CUarray *array, CUmipmappedArray mipmap, unsigned level)
{
    RT_RETURN(cuMipmappedArrayGetLevel(array, mipmap, level));
}

RT cudaError_t cudaMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties,
                                                     CUmipmappedArray mipmap);
RT cudaError_t cudaMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties,
                                                     CUmipmappedArray mipmap)
{
    RT_RETURN(cuMipmappedArrayGetSparseProperties(properties, mipmap));
}

RT cudaError_t cudaMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                                       CUmipmappedArray mipmap, int device);
RT cudaError_t cudaMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                                       CUmipmappedArray mipmap, int device)
{
    RT_RETURN(cuMipmappedArrayGetMemoryRequirements(requirements, mipmap, device));
}

RT cudaError_t cudaArrayGetPlane(CUarray *plane, CUarray array, unsigned index);
RT cudaError_t cudaArrayGetPlane(CUarray *plane, CUarray array, unsigned index)
{
    RT_RETURN(cuArrayGetPlane(plane, array, index));
}

RT cudaError_t cudaArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties,
                                            CUarray array);
RT cudaError_t cudaArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties, CUarray array)
{
    RT_RETURN(cuArrayGetSparseProperties(properties, array));
}

RT cudaError_t cudaArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                              CUarray array, int device);
RT cudaError_t cudaArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                              CUarray array, int device)
{
    RT_RETURN(cuArrayGetMemoryRequirements(requirements, array, device));
}

RT cudaError_t cudaDeviceGetTexture1DLinearMaxWidth(size_t *width, const struct channel_desc *desc,
                                                    int device);
RT cudaError_t cudaDeviceGetTexture1DLinearMaxWidth(size_t *width, const struct channel_desc *desc,
                                                    int device)
{
    unsigned channels = 0;
    int format = desc ? texture_format(desc, &channels) : -1;

    RT_RETURN(format < 0 ? CUDA_ERROR_INVALID_VALUE
                         : cuDeviceGetTexture1DLinearMaxWidth(width, (CUarray_format)format,
                                                              channels, device));
}
