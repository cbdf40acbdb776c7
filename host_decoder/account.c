/* SPDX-License-Identifier: MIT */
#include "account.h"

#include <stdlib.h>
#include <viaduct/errors.h>

/* In front of memory on an account. */
union head {
    struct {
        struct account *account;
        size_t size; /* with this */
    };
    char room[ACCOUNT_ALIGN];
};

int account_take(struct account *account, uint64_t bytes)
{
    uint64_t now = atomic_load(&account->bytes);

    do {
        if (now > account->most || bytes > account->most - now)
            return VD_ERR_LIMIT;
    } while (!atomic_compare_exchange_weak(&account->bytes, &now, now + bytes));
    return 0;
}

void account_give(struct account *account, uint64_t bytes)
{
    atomic_fetch_sub(&account->bytes, bytes);
}

int account_alloc(struct account *account, size_t size, void **ret_memory)
{
    union head *head;
    void *memory;
    int err;

    if (size > SIZE_MAX - sizeof(*head))
        return VD_ERR_MEMORY;
    size += sizeof(*head);
    err = account ? account_take(account, size) : 0;
    if (err)
        return err;
    if (posix_memalign(&memory, ACCOUNT_ALIGN, size)) {
        if (account)
            account_give(account, size);
        return VD_ERR_MEMORY;
    }
    head = memory;
    head->account = account;
    head->size = size;
    *ret_memory = head + 1;
    return 0;
}

void account_free(void *memory)
{
    union head *head = memory;

    if (!head)
        return;
    head--;
    if (head->account)
        account_give(head->account, head->size);
    free(head);
}
