/* SPDX-License-Identifier: MIT */
#include "versions.h"

/*
 * The one symbol of the library under the versions that programs were linked with: that of the
 * release. Later ones need a row here and one in libonnxruntime.map.
 */
#define VERSION(minor, patch)                                                                 \
    const struct ort_api_base *version_##minor##_##patch(void);                               \
    __asm__(".symver version_" #minor "_" #patch ",OrtGetApiBase@VERS_1." #minor "." #patch); \
    __attribute__((visibility("default"), used))                                              \
    const struct ort_api_base *version_##minor##_##patch(void)                                \
    {                                                                                         \
        return versions_base(__builtin_return_address(0));                                    \
    }

VERSION(16, 0)
VERSION(16, 1)
VERSION(16, 2)
VERSION(16, 3)
VERSION(17, 0)
VERSION(17, 1)
VERSION(17, 2)
VERSION(17, 3)
VERSION(18, 0)
VERSION(18, 1)
VERSION(18, 2)
VERSION(18, 3)
VERSION(19, 0)
VERSION(19, 1)
VERSION(19, 2)
VERSION(19, 3)
VERSION(20, 0)
VERSION(20, 1)
VERSION(20, 2)
VERSION(20, 3)
VERSION(21, 0)
VERSION(21, 1)
VERSION(21, 2)
VERSION(21, 3)
VERSION(22, 0)
VERSION(22, 1)
VERSION(22, 2)
VERSION(22, 3)
VERSION(23, 0)
VERSION(23, 1)
VERSION(23, 2)
VERSION(23, 3)
VERSION(24, 0)
VERSION(24, 1)
VERSION(24, 2)
VERSION(24, 3)
VERSION(25, 0)
VERSION(25, 1)
VERSION(25, 2)
VERSION(25, 3)
VERSION(26, 0)
VERSION(26, 1)
VERSION(26, 2)
VERSION(26, 3)
VERSION(27, 0)
VERSION(27, 1)
VERSION(27, 2)
VERSION(27, 3)
VERSION(28, 0)
VERSION(28, 1)
VERSION(28, 2)
VERSION(28, 3)
VERSION(29, 1)
VERSION(29, 2)
VERSION(29, 3)
VERSION(30, 0)
VERSION(30, 1)
VERSION(30, 2)
VERSION(30, 3)
