/* SPDX-License-Identifier: MIT */
#ifndef NPU_CHOOSE_H
#define NPU_CHOOSE_H

#include "shelf.h"

/*
 * Which device runs a model: what was asked for in its order, then, unless that is required, the
 * rest in the host's.
 */
struct choose {
    /* Of the model; taken over (and NULL) if it is made for each shape. */
    uint8_t *bytes;
    void (*free)(void *bytes);
    /* Whether nobody wants it any more. */
    bool (*left)(void *owner);
    void *owner;
    /* What was asked for and is not it is told here, also when another device serves. */
    char *text;
    size_t text_size;
};

/* Loads what `model->key` says: fills the model. 0 or an error with its sentence in `text`. */
int choose_load(void *choose, struct shelf_model *model);

#endif
