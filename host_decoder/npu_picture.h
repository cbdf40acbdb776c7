/* SPDX-License-Identifier: MIT */
#ifndef HOST_NPU_PICTURE_H
#define HOST_NPU_PICTURE_H

#include "compute/npu/host/pictures.h"
#include "pixels.h"

/*
 * From a picture to the tensor that a model wants (vd_npu_picture): parts, sizes, colours, numbers.
 * Built on libswscale. A builder is one thread's; it keeps scalers from picture to picture.
 *
 * Pixels may change meanwhile: they are data. Everything else is checked here.
 */
struct npu_picture;

/*
 * `*builder` is made when NULL. 0; -VD_ERR_PARAMETER (a part outside, a tensor of another shape),
 * -VD_ERR_UNSUPPORTED (a format, a type), -VD_ERR_MEMORY, with a sentence.
 */
int npu_picture_make(struct npu_picture **builder, const struct pixels *pixels,
                     struct pictures_input *input, char *error, size_t error_size);
/* NULL is fine. */
void npu_picture_destroy(struct npu_picture *builder);

#endif
