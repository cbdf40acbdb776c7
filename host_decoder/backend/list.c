/* SPDX-License-Identifier: MIT */
#include "../backend.h"

#include "config.h"

/* The back ends, best first. null is never chosen on its own: it decodes nothing. */
static const struct backend *const backend_list[] = {
#if HAVE_VAAPI
    &backend_vaapi,
#endif
#if HAVE_AVCODEC
    &backend_avcodec_device, &backend_avcodec,
#endif
#if HAVE_DAV1D
    &backend_dav1d,
#endif
#if HAVE_ENCODERS
    &backend_encode_device,  &backend_encode,
#endif
#if HAVE_FILTER
    &backend_filter,
#endif
    &backend_null,
};

const struct backend *backend_at(size_t i)
{
    return i < sizeof(backend_list) / sizeof(backend_list[0]) ? backend_list[i] : NULL;
}
