/* SPDX-License-Identifier: MIT */
#ifndef NPU_SHELF_H
#define NPU_SHELF_H

#include <wire/sha256.h>

#include "provider.h"

/*
 * Loaded models of a client. Each is loaded once, whichever number of the client's sessions use it,
 * and stays for a while when none does: who opens the same one again finds it. Models are told
 * apart by the hash of their bytes and by what was asked for.
 *
 * Any thread.
 */
struct shelf;

/* What nobody uses any more is kept up to this. */
#define SHELF_IDLE_MODELS 4
#define SHELF_IDLE_BYTES  (256ull << 20) /* of models */

struct shelf_key {
    uint8_t hash[SHA256_BYTES];
    uint64_t size;
    uint32_t threads;
    bool require;
    char devices[VD_ENGINE_BYTES]; /* the wish; all bytes count */
};

/* Does not change while it is held, but for what is behind `model`. */
struct shelf_model {
    struct shelf_key key;
    const struct provider *provider;
    void *model; /* the provider's; NULL: it is loaded for each shape (special.h) */
    char device[VD_NAME_BYTES];
    struct provider_description description;
    uint8_t *info; /* pack_info */
    uint64_t info_size;
    char text[VD_NPU_TEXT_BYTES]; /* why another device does not run it */
    struct special_source *source;
    /* The shelf's, under its lock. */
    struct shelf_model *next;
    uint32_t holders;
    uint64_t used; /* when it was put back */
    bool loading;
};

/* NULL if there is no memory. */
struct shelf *shelf_create(void);
/* No model is held any more. NULL is fine. */
void shelf_destroy(struct shelf *shelf);
/* Holds the model of this key, if it is there and loaded; or NULL. */
struct shelf_model *shelf_find(struct shelf *shelf, const struct shelf_key *key);
/*
 * The same, but loads it if it is not there. `load` fills all that is not the shelf's, or returns
 * an error with nothing in the model. Who comes meanwhile waits.
 */
int shelf_take(struct shelf *shelf, const struct shelf_key *key,
               int (*load)(void *owner, struct shelf_model *model), void *owner,
               struct shelf_model **ret_model);
/* Lets go. NULL is fine. */
void shelf_put(struct shelf *shelf, struct shelf_model *model);
/* Frees what nobody holds. */
void shelf_trim(struct shelf *shelf);

#endif
