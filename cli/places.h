/* SPDX-License-Identifier: MIT */
#ifndef CLI_PLACES_H
#define CLI_PLACES_H

#include <stdbool.h>
#include <stddef.h>

/* Where the parts of Viaduct lie: in the build tree this program runs from, else installed. */
enum place {
    PLACE_VIADUCTD,
    PLACE_DRIVER,
    PLACE_DISPLAY,
    PLACE_CUDA,
    PLACE_CUDART_12,
    PLACE_CUDART_13,
    PLACE_NVML,
    PLACE_SELF,
    PLACE_NPU,
    PLACE_NPU_LOCAL,
    PLACE_LOOK,
};

/* Absolute path of a part. False if it is nowhere; `path` then says where it should be. */
bool places_find(enum place place, char *path, size_t room);
/* Cuts the last component off. */
void places_directory(char *path);
/* Whether the machine has a render node of its own. */
bool places_have_render_node(void);

#endif
