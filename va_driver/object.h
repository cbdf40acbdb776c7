/* SPDX-License-Identifier: MIT */
#ifndef DRIVER_OBJECT_H
#define DRIVER_OBJECT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Tables of VA objects by id. An id is type << 28 | generation << 20 | slot, so an id of another
 * type, a destroyed object's id and a random number are all told apart from a live one. Objects
 * are reference-counted: the table holds one reference until object_remove.
 *
 * Memory is recycled per table: no allocation in the steady state. All functions are called with
 * the driver's lock held.
 */
enum object_type {
    OBJECT_CONFIG = 1,
    OBJECT_CONTEXT,
    OBJECT_SURFACE,
    OBJECT_BUFFER,
    OBJECT_IMAGE,
};

/* First member of every object. */
struct object {
    uint32_t id;
    int refs;
    struct object *next; /* of the recycled ones */
};

struct object_table {
    enum object_type type;
    size_t size;                                        /* bytes of an object */
    uint32_t limit;                                     /* most objects */
    void (*finish)(void *owner, struct object *object); /* before the memory is recycled */
    void *owner;
    struct object **slot;
    uint8_t *generation;
    uint32_t *free_slot;
    uint32_t room, used, free_count;
    struct object *idle;
};

void object_table_init(struct object_table *table, enum object_type type, size_t size,
                       uint32_t limit, void (*finish)(void *, struct object *), void *owner);
/* Removes what is left, then frees the table. */
void object_table_finish(struct object_table *table);
/* A zeroed object with an id and one reference (the table's), or NULL at the limit. */
void *object_create(struct object_table *table);
/* NULL if the id names nothing here. Takes no reference. */
void *object_find(struct object_table *table, uint32_t id);
void *object_ref(void *object);
void object_unref(struct object_table *table, void *object);
/* The id stops naming it; drops the table's reference. */
void object_remove(struct object_table *table, void *object);
/* For walking: the object in a slot or NULL; slots run from 0 to table->used - 1. */
void *object_at(struct object_table *table, uint32_t slot);

#endif
