/* SPDX-License-Identifier: MIT */
#include "object.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/protocol.h>

void object_table_init(struct object_table *table, enum object_type type, size_t size,
                       uint32_t limit, void (*finish)(void *, struct object *), void *owner)
{
    memset(table, 0, sizeof(*table));
    table->type = type;
    table->size = size;
    table->limit = limit;
    table->finish = finish;
    table->owner = owner;
}

void *object_at(struct object_table *table, uint32_t slot)
{
    return slot < table->used ? table->slot[slot] : NULL;
}

void object_table_finish(struct object_table *table)
{
    for (uint32_t i = 0; i < table->used; i++) {
        if (table->slot[i])
            object_remove(table, table->slot[i]);
    }
    while (table->idle) {
        struct object *next = table->idle->next;

        free(table->idle);
        table->idle = next;
    }
    free(table->slot);
    free(table->generation);
    free(table->free_slot);
    memset(table, 0, sizeof(*table));
}

static int table_grow(struct object_table *table)
{
    uint32_t room = table->room ? table->room * 2 : 64;
    struct object **slot = realloc(table->slot, room * sizeof(*slot));
    uint8_t *generation;
    uint32_t *free_slot;

    if (!slot)
        return -1;
    table->slot = slot;
    generation = realloc(table->generation, room);
    if (!generation)
        return -1;
    table->generation = generation;
    free_slot = realloc(table->free_slot, room * sizeof(*free_slot));
    if (!free_slot)
        return -1;
    table->free_slot = free_slot;
    memset(generation + table->room, 0, room - table->room);
    table->room = room;
    return 0;
}

void *object_create(struct object_table *table)
{
    struct object *object = table->idle;
    uint32_t slot;

    if (!table->free_count) {
        if (table->used == table->limit || (table->used == table->room && table_grow(table)))
            return NULL;
    }
    if (object)
        table->idle = object->next;
    else
        object = malloc(table->size);
    if (!object)
        return NULL;
    slot = table->free_count ? table->free_slot[--table->free_count] : table->used++;
    memset(object, 0, table->size);
    object->refs = 1;
    object->id = (uint32_t)table->type << 28 | (uint32_t)table->generation[slot] << 20 | slot;
    table->slot[slot] = object;
    return object;
}

void *object_find(struct object_table *table, uint32_t id)
{
    struct object *object = object_at(table, VD_SLOT(id));

    return object && object->id == id ? object : NULL;
}

void *object_ref(void *object)
{
    ((struct object *)object)->refs++;
    return object;
}

void object_unref(struct object_table *table, void *pointer)
{
    struct object *object = pointer;

    if (!object || --object->refs)
        return;
    table->finish(table->owner, object);
    object->next = table->idle;
    table->idle = object;
}

void object_remove(struct object_table *table, void *pointer)
{
    struct object *object = pointer;
    uint32_t slot = VD_SLOT(object->id);

    table->slot[slot] = NULL;
    table->generation[slot]++;
    table->free_slot[table->free_count++] = slot;
    object_unref(table, object);
}
