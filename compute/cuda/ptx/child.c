/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>

#include "child.h"

/* The grids, copies and fills that kernels ask for: their places, their order, their execution. */

#define LAUNCHES_SMALL PTX_MAX_CHILDREN /* by the size of their parameters */
#define LAUNCHES_LARGE 2048u
#define LAUNCHES       (LAUNCHES_SMALL + LAUNCHES_LARGE)
#define SMALL          192u /* bytes of parameters */
#define SMALL_STRIDE   256u /* vectors are read beyond their end */
#define LARGE_STRIDE   4608u
#define LARGE_AT       (LAUNCHES_SMALL * SMALL_STRIDE)
#define DEPTH          24u /* "CUDA C++ Programming Guide", maximum nesting depth */

_Static_assert(LARGE_STRIDE >= MAX_PARAMETERS + 64 && LARGE_STRIDE % 64 == 0, "all kernels fit");

static void list_clear(struct child_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_add(struct child_list *list, struct child *one)
{
    one->next = NULL;
    *list->end = one;
    list->end = &one->next;
}

static void release(struct children *c, struct child *one)
{
    struct child **head = &c->free[one >= c->slots + LAUNCHES_SMALL];

    one->kind = CHILD_FREE;
    c->taken--;
    one->next = *head;
    *head = one;
}

static void release_all(struct children *c)
{
    c->free[0] = c->free[1] = NULL;
    c->taken = LAUNCHES;
    for (uint32_t i = LAUNCHES; i--;)
        release(c, &c->slots[i]);
    list_clear(&c->waiting);
    list_clear(&c->tail);
}

int children_create(struct ptx_context *context, struct children **ret_children)
{
    struct children *c = calloc(1, sizeof(*c));
    int err = VD_ERR_MEMORY;

    if (!c)
        return err;
    c->context = context;
    c->slots = calloc(LAUNCHES, sizeof(*c->slots));
    if (!c->slots)
        goto failed;
    err = memory_create(&context->memory, LARGE_AT + LAUNCHES_LARGE * LARGE_STRIDE, NULL, false,
                        &c->address);
    if (err)
        goto failed;
    err = child_texts(&context->memory, &c->texts);
    if (err) {
        memory_destroy(&context->memory, c->address);
        goto failed;
    }
    pthread_rwlock_rdlock(&context->memory.lock);
    c->parameters = memory_find(&context->memory, c->address)->host;
    pthread_rwlock_unlock(&context->memory.lock);
    pthread_mutex_init(&c->lock, NULL);
    release_all(c);
    *ret_children = c;
    return 0;
failed:
    free(c->slots);
    free(c);
    return err;
}

void children_destroy(struct children *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c->slots);
    free(c);
}

static uint64_t slot_offset(const struct children *c, const struct child *one)
{
    uint32_t i = (uint32_t)(one - c->slots);

    return i < LAUNCHES_SMALL ? (uint64_t)i * SMALL_STRIDE
                              : LARGE_AT + (uint64_t)(i - LAUNCHES_SMALL) * LARGE_STRIDE;
}

struct child *child_take(struct children *c, uint32_t bytes)
{
    struct child *one = NULL;

    pthread_mutex_lock(&c->lock);
    for (unsigned i = bytes > SMALL; i < 2 && !one; i++) {
        one = c->free[i];
        if (one)
            c->free[i] = one->next;
    }
    if (one) {
        memset(one, 0, sizeof(*one));
        one->kind = CHILD_TAKEN;
        one->depth = c->depth + 1;
        c->taken++;
    }
    pthread_mutex_unlock(&c->lock);
    return one;
}

uint64_t child_address(const struct children *c, const struct child *one)
{
    return c->address + slot_offset(c, one);
}

void child_offer(struct children *c, struct child *one)
{
    pthread_mutex_lock(&c->lock);
    one->kind = CHILD_READY;
    pthread_mutex_unlock(&c->lock);
}

struct child *child_claim(struct children *c, uint64_t address)
{
    uint64_t at = address - c->address;
    struct child *one = NULL;

    if (at < LARGE_AT)
        one = &c->slots[at / SMALL_STRIDE];
    else if (at - LARGE_AT < LAUNCHES_LARGE * LARGE_STRIDE)
        one = &c->slots[LAUNCHES_SMALL + (at - LARGE_AT) / LARGE_STRIDE];
    if (!one || child_address(c, one) != address)
        return NULL;
    pthread_mutex_lock(&c->lock);
    if (one->kind == CHILD_READY)
        one->kind = CHILD_TAKEN;
    else
        one = NULL;
    pthread_mutex_unlock(&c->lock);
    return one;
}

bool child_deep(const struct child *one)
{
    return one->depth > DEPTH;
}

void child_give(struct children *c, struct child *one)
{
    pthread_mutex_lock(&c->lock);
    release(c, one);
    pthread_mutex_unlock(&c->lock);
}

void child_queue(struct children *c, struct child *one, enum child_kind kind, bool tail)
{
    pthread_mutex_lock(&c->lock);
    one->kind = kind;
    list_add(tail ? &c->tail : &c->waiting, one);
    /* A grid that comes behind its parent is no deeper: it may launch itself again for long. */
    one->depth -= tail;
    pthread_mutex_unlock(&c->lock);
}

/* What runs next: all that the last grid asked for, then what was there before. */
static void gather(struct children *c, struct child **todo)
{
    *c->tail.end = *todo;
    *c->waiting.end = c->tail.first;
    *todo = c->waiting.first;
    list_clear(&c->waiting);
    list_clear(&c->tail);
}

static void fail(struct launch *l, enum ptx_fault fault, const char *text, uint64_t address)
{
    l->result.fault = fault;
    l->result.address = address;
    snprintf(l->result.text, sizeof(l->result.text), "kernel %.64s: %s (0x%llx)", l->kernel->name,
             text, (unsigned long long)address);
}

/* Rows of one allocation; NULL: not all of them are. */
static uint8_t *rows(const struct memory *m, uint64_t address, uint64_t pitch,
                     const struct child *one, bool write)
{
    const struct region *r = memory_find(m, address);
    uint64_t room;

    if (!r || (write && r->constant))
        return NULL;
    room = r->size - (address - r->address);
    if (one->width > room ||
        (one->height > 1 && (pitch < one->width || one->height - 1 > (room - one->width) / pitch)))
        return NULL;
    return r->host + (address - r->address);
}

static void move(struct launch *l, const struct child *one)
{
    const struct memory *m = &l->context->memory;
    uint8_t *to, *from = NULL;

    if (!one->width || !one->height)
        return;
    to = rows(m, one->to, one->pitch_to, one, true);
    if (one->kind == CHILD_COPY)
        from = rows(m, one->from, one->pitch_from, one, false);
    if (!to || (one->kind == CHILD_COPY && !from)) {
        fail(l, PTX_FAULT_ADDRESS, "copies or fills memory that is not there",
             to ? one->from : one->to);
        return;
    }
    for (uint64_t y = 0; y < one->height; y++) {
        if (from)
            memmove(to + y * one->pitch_to, from + y * one->pitch_from, one->width);
        else
            memset(to + y * one->pitch_to, one->value, one->width);
    }
}

/* `top` is the host's grid, whose limits are those of all. */
static void run_grid(struct children *c, const struct child *one, struct launch *top)
{
    struct launch l = {.context = c->context, .deadline = top->deadline};

    c->depth = one->depth;
    launch_init(&l, one->function, &one->request, c->parameters + slot_offset(c, one));
    atomic_store(&l.instructions, atomic_load(&top->instructions));
    launch_blocks(&l);
    atomic_store(&top->instructions, atomic_load(&l.instructions));
    top->result = l.result;
    launch_finish(&l);
}

void children_start(struct children *c)
{
    c->depth = 0;
}

void children_run(struct children *c, struct launch *l)
{
    struct child *todo = NULL;

    gather(c, &todo);
    while (todo && !l->result.fault) {
        struct child *one = todo;

        todo = one->next;
        if (one->kind == CHILD_LAUNCH) {
            run_grid(c, one, l);
            gather(c, &todo);
        } else {
            move(l, one);
        }
        release(c, one);
        /* Copies use no instructions, which is where blocks look. */
        if (!l->result.fault && atomic_load(&l->context->cancel))
            fail(l, PTX_FAULT_CANCELLED, "cancelled", 0);
        else if (!l->result.fault && l->deadline && launch_now() > l->deadline)
            fail(l, PTX_FAULT_LIMIT, "time used up by what it launched", 0);
    }
    /* Of places that were taken and not used, and of those that a fault left. */
    if (c->taken)
        release_all(c);
}
