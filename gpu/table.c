/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <stddef.h>

/* A guest that chooses numbers which meet in one bucket slows down its own device. */
static uint32_t bucket_of(uint32_t id)
{
    return id * 2654435761u >> 22;
}

struct gpu_entry *table_find(const struct gpu_table *table, uint32_t id)
{
    struct gpu_entry *entry = table->buckets[bucket_of(id)];

    while (entry && entry->id != id)
        entry = entry->next;
    return entry;
}

void table_add(struct gpu_table *table, struct gpu_entry *entry)
{
    struct gpu_entry **bucket = &table->buckets[bucket_of(entry->id)];

    entry->next = *bucket;
    *bucket = entry;
    table->count++;
}

void table_remove(struct gpu_table *table, struct gpu_entry *entry)
{
    for (struct gpu_entry **at = &table->buckets[bucket_of(entry->id)]; *at; at = &(*at)->next) {
        if (*at == entry) {
            *at = entry->next;
            table->count--;
            return;
        }
    }
}

void table_each(struct gpu_table *table, void (*each)(void *arg, struct gpu_entry *entry),
                void *arg)
{
    for (size_t i = 0; i < TABLE_BUCKETS; i++) {
        struct gpu_entry *entry = table->buckets[i];

        while (entry) {
            struct gpu_entry *next = entry->next;

            each(arg, entry);
            entry = next;
        }
    }
}
