/* SPDX-License-Identifier: MIT */
#ifndef BACKEND_VAAPI_PROC_H
#define BACKEND_VAAPI_PROC_H

#include "vaapi_work.h"

/*
 * Video processing: values of filters. The guest's ranges are those of vpp.def, a driver's are its
 * own. Both have a default: from the least to the default, and from there to the most, one range
 * is stretched to the other.
 */
struct vaapi_range {
    VAProcFilterType type;
    VAProcColorBalanceType attribute; /* None for other filters */
    float least, most, usual;
};

enum {
#define VD_FILTER(type, attribute, least, most, usual, step) VAAPI_RANGE_##type##attribute,
#include <viaduct/vpp.def>
    VAAPI_RANGES,
};

/* Of a context that nothing is processed with. */
#define VAAPI_PROC_SIZE 64

/* What the device has; where it does not say, as the guest. */
void vaapi_proc_ranges(const struct vaapi_device *device, VAContextID context,
                       struct vaapi_range *ret_ranges);
/* The device's value for the guest's. */
float vaapi_proc_value(const struct vaapi_range *ranges, uint32_t type, uint32_t attribute,
                       float value);

#endif
