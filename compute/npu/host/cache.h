/* SPDX-License-Identifier: MIT */
#ifndef NPU_CACHE_H
#define NPU_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wire/sha256.h>

/*
 * What drivers made of models, in a folder of the service's (VIADUCT_NPU_CACHE; none: no cache), so
 * that the next client need not wait for the compiler. An entry is what the runtime wrote
 * (NAME.bin) and its size and SHA-256 (NAME.sum), NAME being the hash of all that it depends on. An
 * entry whose sum is not right, or not there, does not exist.
 *
 * Workers only make files: they may not remove any. What is too much, or was left unfinished, the
 * nursery removes before it starts one.
 */

struct cache_key {
    uint8_t hash[SHA256_BYTES];
};

/* In the nursery: makes the folder, if one is wanted. */
void cache_prepare(void);
/* In the nursery: removes the oldest ones beyond the limit, and broken ones if `unfinished`. */
void cache_sweep(bool unfinished);
/* `parts`: all that the result depends on, NULL at the end. */
void cache_key_of(const uint8_t model[SHA256_BYTES], const char *const *parts,
                  struct cache_key *ret_key);
/* The bytes of an entry, to be freed; false if there is none that is right. */
bool cache_find(const struct cache_key *key, uint8_t **ret_bytes, size_t *ret_size);
/*
 * Where a runtime may write its file; false if there is no cache, or a file is there already that a
 * runtime does not replace.
 */
bool cache_place(const struct cache_key *key, char *path, size_t room);
/* It has written it: the entry exists from now on, if it is not too large. */
void cache_done(const struct cache_key *key);

#endif
