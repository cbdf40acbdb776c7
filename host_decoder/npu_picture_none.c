/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <viaduct/errors.h>

#include "npu_picture.h"

/* A build without libswscale. */

int npu_picture_make(struct npu_picture **builder, const struct pixels *pixels,
                     struct pictures_input *input, char *error, size_t error_size)
{
    (void)builder, (void)pixels, (void)input;
    snprintf(error, error_size, "this host was built without libswscale, which pictures need");
    return VD_ERR_UNSUPPORTED;
}

void npu_picture_destroy(struct npu_picture *builder)
{
    (void)builder;
}
