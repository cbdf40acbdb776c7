/* SPDX-License-Identifier: MIT */
#ifndef NPU_SPECIAL_H
#define NPU_SPECIAL_H

#include "shelf.h"

/*
 * Models whose shapes vary, on devices that want to know shapes beforehand: the model is written
 * anew for each set of shapes that comes, with these in place of what was open, and loaded as such.
 * The last ones are kept.
 */

/* Sets of shapes that a session of a model keeps. */
#define SPECIAL_KEPT 4

/* What special ones are made from; belongs to the shelf_model. */
struct special_source {
    uint8_t *bytes; /* of the model */
    uint64_t size;
    void (*free)(void *bytes);
    char placement[VD_NAME_BYTES + 48];
    struct onnx_model *outline;
    struct onnx_io *rows;
};

/* NULL is fine. */
void special_source_destroy(struct special_source *source);

/* Whether this model, an outline of which is at `description`, has to be made for each shape. */
bool special_wanted(const struct provider *provider, const char *device,
                    const struct provider_description *description);
/* As special_wanted, of bytes: false if they are broken, which the provider will tell. */
bool special_wanted_by(const struct provider *provider, const char *device, const void *bytes,
                       uint64_t size);
/*
 * Fills a model of the shelf that has provider and device with a source and its description. It
 * takes the bytes over, if it does not fail.
 */
int special_describe(struct shelf_model *model, uint8_t *bytes, uint64_t size,
                     void (*free_bytes)(void *bytes), char *error, size_t error_size);

/* A model with these dimensions for its inputs. `values` are `count` rows as in a run. */
int special_write(const struct special_source *source, const struct provider_description *about,
                  const struct onnx_value *values, const uint32_t *indices, uint32_t count,
                  uint8_t **ret_bytes, size_t *ret_size, char *error, size_t error_size);

/* Those that a session of a model has. Zeroed is empty; one thread. */
struct special {
    struct special_one {
        struct shelf_model *model;
        void *run; /* the provider's */
        uint64_t used;
    } at[SPECIAL_KEPT];
    uint64_t clock;
};

/* The one for the shapes of a run's inputs: found, or made. */
int special_take(struct special *special, struct shelf *shelf, const struct shelf_model *model,
                 const struct provider_run *run, struct special_one **ret_one);
void special_finish(struct special *special, struct shelf *shelf);

#endif
