/* SPDX-License-Identifier: MIT */
#ifndef GPU_TABLE_H
#define GPU_TABLE_H

#include <stdint.h>

/*
 * Objects by the numbers that a guest gives them: any 32 bits but 0. The guest's kernel counts up
 * and never reuses a resource's number, so the numbers are no indices. Embedded as first member.
 */
struct gpu_entry {
    uint32_t id;
    struct gpu_entry *next;
};

#define TABLE_BUCKETS 1024u

struct gpu_table {
    struct gpu_entry *buckets[TABLE_BUCKETS];
    uint32_t count;
};

/* NULL: there is none. */
struct gpu_entry *table_find(const struct gpu_table *table, uint32_t id);
/* The id is not 0 and not in the table. */
void table_add(struct gpu_table *table, struct gpu_entry *entry);
/* Does nothing if it is not in there. */
void table_remove(struct gpu_table *table, struct gpu_entry *entry);
/* Calls `each` for all; it may remove the entry it is called with, and no other. */
void table_each(struct gpu_table *table, void (*each)(void *arg, struct gpu_entry *entry),
                void *arg);

#endif
