/* SPDX-License-Identifier: MIT */
#ifndef HOST_ACCOUNT_H
#define HOST_ACCOUNT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What one client may have: frame memory, and all that the host keeps beside it for as long as the
 * client likes (planes, bitstreams on their way, surfaces of a device). A limit that counted frames
 * alone would leave a hostile client the rest.
 *
 * Any thread, no lock.
 */
struct account {
    atomic_uint_least64_t bytes;
    uint64_t most;
};

/* 0 or -VD_ERR_LIMIT. */
int account_take(struct account *account, uint64_t bytes);
void account_give(struct account *account, uint64_t bytes);

/*
 * Memory on the account, aligned to ACCOUNT_ALIGN; its contents are undefined. NULL account: not
 * counted. 0, -VD_ERR_LIMIT, -VD_ERR_MEMORY.
 */
#define ACCOUNT_ALIGN 64
int account_alloc(struct account *account, size_t size, void **ret_memory);
/* NULL is fine. The account must still be there. */
void account_free(void *memory);

#endif
