/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viaduct/errors.h>

#include "child.h"
#include "flow.h"

/* Functions that are declared in PTX but not there: printf, malloc, free, assertions. */

#define MOST_TEXT   8192u
#define MOST_FORMAT 4096u

static uint64_t argument(uint8_t *(*arguments)[LANES], unsigned n, unsigned lane, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, arguments[n][lane], bytes);
    return value;
}

/* A string of device memory; false: the warp has failed. */
static bool read_text(struct warp *w, const struct insn *in, unsigned lane, uint64_t address,
                      char *text, size_t room)
{
    size_t n = 0;

    while (n + 1 < room) {
        const uint8_t *at = access_lane(w, in, SPACE_GENERIC, address + n, lane, 1, 1, false);

        if (!at)
            return false;
        if (!*at)
            break;
        text[n++] = (char)*at;
    }
    text[n] = '\0';
    return true;
}

struct text {
    char bytes[MOST_TEXT];
    size_t used;
};

static void put(struct text *t, const char *bytes, size_t size)
{
    if (size > sizeof(t->bytes) - t->used)
        size = sizeof(t->bytes) - t->used;
    memcpy(t->bytes + t->used, bytes, size);
    t->used += size;
}

/*
 * One conversion: flags, width, precision, length and letter at `format`. What printf of the host
 * would do with values of its own choice is not left to the kernel: %n and `*` are not known.
 */
static int convert(struct warp *w, const struct insn *in, unsigned lane, const char **format,
                   uint64_t *at, struct text *t)
{
    const char *f = *format;
    char spec[32] = "%", out[512];
    size_t n = 1;
    unsigned longs = 0, width = 0;
    uint64_t value = 0;
    const uint8_t *host;
    int size = 0;
    unsigned bytes;

    while (*f && strchr("-+ #0", *f) && n < 8)
        spec[n++] = *f++;
    while (((*f >= '0' && *f <= '9') || *f == '.') && n < 16) {
        if (*f != '.')
            width = width * 10 + (unsigned)(*f - '0');
        else
            width = 0;
        if (width > 200)
            return -1;
        spec[n++] = *f++;
    }
    while (*f == 'l' || *f == 'h' || *f == 'z' || *f == 'j' || *f == 't') {
        longs += *f != 'h';
        f++;
    }
    if (!*f || !strchr("diouxXcsfFeEgGaAp", *f))
        return -1;
    bytes = longs || strchr("sfFeEgGaAp", *f) ? 8 : 4;
    *at = (*at + bytes - 1) / bytes * bytes;
    host = access_lane(w, in, SPACE_GENERIC, *at, lane, bytes, 1, false);
    if (!host)
        return -2;
    memcpy(&value, host, bytes);
    *at += bytes;
    if (*f == 's') {
        char string[MOST_FORMAT];

        if (!value)
            memcpy(string, "(null)", 7);
        else if (!read_text(w, in, lane, value, string, sizeof(string)))
            return -2;
        if (n == 1) {
            put(t, string, strlen(string));
            *format = f + 1;
            return 0;
        }
        memcpy(spec + n, "s", 2);
        size = snprintf(out, sizeof(out), spec, string);
    } else if (strchr("fFeEgGaA", *f)) {
        double number;

        memcpy(&number, &value, 8);
        spec[n++] = *f;
        spec[n] = '\0';
        size = snprintf(out, sizeof(out), spec, number);
    } else if (*f == 'p') {
        memcpy(spec + n, "p", 2);
        size = snprintf(out, sizeof(out), spec, (void *)(uintptr_t)value);
    } else if (*f == 'c') {
        spec[n++] = 'c';
        spec[n] = '\0';
        size = snprintf(out, sizeof(out), spec, (int)(unsigned char)value);
    } else {
        if ((*f == 'd' || *f == 'i') && bytes == 4)
            value = (uint64_t)(int64_t)(int32_t)value;
        memcpy(spec + n, "ll", 2);
        n += 2;
        spec[n++] = *f;
        spec[n] = '\0';
        size = snprintf(out, sizeof(out), spec, value);
    }
    if (size > 0)
        put(t, out, (size_t)size < sizeof(out) ? (size_t)size : sizeof(out) - 1);
    *format = f + 1;
    return 0;
}

static void print(struct warp *w, const char *text, size_t size)
{
    struct ptx_context *c = w->launch->context;

    if (!c->options.print)
        return;
    pthread_mutex_lock(&c->print_lock);
    c->options.print(c->options.user, text, size);
    pthread_mutex_unlock(&c->print_lock);
}

static int run_printf(struct warp *w, const struct insn *in, const struct ptx_function *fn,
                      uint8_t *(*arguments)[LANES], uint8_t **result)
{
    char format[MOST_FORMAT];
    struct text *t = malloc(sizeof(*t));

    (void)fn;
    if (!t) {
        warp_fault(w, in, PTX_FAULT_MEMORY, 0, 0);
        return -1;
    }
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        uint64_t at = argument(arguments, 1, lane, 8);
        const char *f = format;
        int32_t count = 0;

        t->used = 0;
        if (!read_text(w, in, lane, argument(arguments, 0, lane, 8), format, sizeof(format)))
            goto failed;
        while (*f) {
            int got;

            if (*f != '%') {
                put(t, f++, 1);
                continue;
            }
            f++;
            if (*f == '%') {
                put(t, f++, 1);
                continue;
            }
            got = convert(w, in, lane, &f, &at, t);
            if (got == -2)
                goto failed;
            if (got)
                put(t, "%", 1);
            else
                count++;
        }
        print(w, t->bytes, t->used);
        if (result[lane])
            memcpy(result[lane], &count, sizeof(count));
    }
    free(t);
    return 0;
failed:
    free(t);
    return -1;
}

static int run_malloc(struct warp *w, const struct insn *in, const struct ptx_function *fn,
                      uint8_t *(*arguments)[LANES], uint8_t **result)
{
    (void)in;
    (void)fn;
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        uint64_t address = heap_take(w->launch->context->heap, argument(arguments, 0, lane, 8));

        if (result[lane])
            memcpy(result[lane], &address, sizeof(address));
    }
    return 0;
}

static int run_free(struct warp *w, const struct insn *in, const struct ptx_function *fn,
                    uint8_t *(*arguments)[LANES], uint8_t **result)
{
    (void)fn;
    (void)result;
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        uint64_t address = argument(arguments, 0, lane, 8);

        if (address && !heap_give(w->launch->context->heap, address)) {
            warp_fault(w, in, PTX_FAULT_ADDRESS, lane, address);
            return -1;
        }
    }
    return 0;
}

static int run_assert(struct warp *w, const struct insn *in, const struct ptx_function *fn,
                      uint8_t *(*arguments)[LANES], uint8_t **result)
{
    unsigned lane = (unsigned)__builtin_ctz(w->mask);
    const uint32_t *b = w->block->id;
    char message[512], file[512], function[512], text[2048];
    int size;

    (void)fn;
    (void)result;
    if (!read_text(w, in, lane, argument(arguments, 0, lane, 8), message, sizeof(message)) ||
        !read_text(w, in, lane, argument(arguments, 1, lane, 8), file, sizeof(file)) ||
        !read_text(w, in, lane, argument(arguments, 3, lane, 8), function, sizeof(function)))
        return -1;
    size = snprintf(text, sizeof(text),
                    "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n",
                    file, (unsigned)argument(arguments, 2, lane, 4), function, b[0], b[1], b[2],
                    w->tid[0][lane], w->tid[1][lane], w->tid[2][lane], message);
    if (size > 0)
        print(w, text, (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1);
    warp_fault(w, in, PTX_FAULT_ASSERT, lane, 0);
    return -1;
}

static const struct ptx_builtin builtins[] = {
    {"vprintf", run_printf, 2, {8, 8}, 4, false, false},
    {"malloc", run_malloc, 1, {8}, 8, true, false},
    {"free", run_free, 1, {8}, 0, false, false},
    {"__assertfail", run_assert, 5, {8, 8, 4, 8, 8}, 0, false, false},
};

const struct ptx_builtin *builtin_find(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++)
        if (strlen(builtins[i].name) == size && !memcmp(builtins[i].name, name, size))
            return &builtins[i];
    return child_builtin(name, size);
}

int builtin_run(struct warp *w, const struct insn *in, const struct ptx_function *f,
                uint8_t *(*arguments)[LANES], uint8_t **result)
{
    const struct ptx_builtin *b = f->builtin;
    /* The declaration is the module's: it has to be the one that is meant. */
    bool fits =
        f->in_count == b->in_count && (f->out_count ? f->out[0].size >= b->out_bytes : !result[0]);

    for (unsigned n = 0; fits && n < b->in_count; n++)
        fits = f->in[n].size == b->in_bytes[n] && f->in[n].slot == NO_SLOT;
    if (!fits) {
        warp_fault(w, in, PTX_FAULT_INSTRUCTION, (uint32_t)__builtin_ctz(w->mask), 0);
        return -1;
    }
    return b->run(w, in, f, arguments, result);
}

/* Blocks of the heap, by offset; what is free is looked for behind the last one that was taken. */
struct chunk {
    uint64_t offset, size;
    bool used;
};

struct heap {
    pthread_mutex_t lock;
    uint64_t address, size;
    struct chunk *chunks;
    size_t count, room, next;
};

int heap_create(uint64_t address, uint64_t size, struct heap **ret_heap)
{
    struct heap *h = calloc(1, sizeof(*h));

    if (!h)
        return VD_ERR_MEMORY;
    h->room = 64;
    h->chunks = calloc(h->room, sizeof(*h->chunks));
    if (!h->chunks) {
        free(h);
        return VD_ERR_MEMORY;
    }
    pthread_mutex_init(&h->lock, NULL);
    h->address = address;
    h->chunks[h->count++] = (struct chunk){0, size / 16 * 16, false};
    *ret_heap = h;
    return 0;
}

void heap_destroy(struct heap *h)
{
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h->chunks);
    free(h);
}

uint64_t heap_take(struct heap *h, uint64_t size)
{
    uint64_t address = 0;

    if (!h || !size || size > UINT64_MAX - 16)
        return 0;
    size = (size + 15) / 16 * 16;
    pthread_mutex_lock(&h->lock);
    if (h->count == h->room) {
        struct chunk *grown = realloc(h->chunks, h->room * 2 * sizeof(*grown));

        if (!grown)
            goto out;
        h->chunks = grown;
        h->room *= 2;
    }
    for (size_t i = 0; i < h->count; i++) {
        size_t at = (h->next + i) % h->count;
        struct chunk *c = &h->chunks[at];

        if (c->used || c->size < size)
            continue;
        if (c->size > size) {
            memmove(c + 2, c + 1, (h->count - at - 1) * sizeof(*c));
            c[1] = (struct chunk){c->offset + size, c->size - size, false};
            c->size = size;
            h->count++;
        }
        c->used = true;
        h->next = at;
        address = h->address + c->offset;
        break;
    }
out:
    pthread_mutex_unlock(&h->lock);
    return address;
}

bool heap_give(struct heap *h, uint64_t address)
{
    size_t low = 0, high;
    bool found = false;

    if (!h || address < h->address)
        return false;
    address -= h->address;
    pthread_mutex_lock(&h->lock);
    high = h->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (h->chunks[middle].offset < address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < h->count && h->chunks[low].offset == address && h->chunks[low].used) {
        struct chunk *c = &h->chunks[low];

        found = true;
        c->used = false;
        if (low + 1 < h->count && !c[1].used) {
            c->size += c[1].size;
            memmove(c + 1, c + 2, (h->count - low - 2) * sizeof(*c));
            h->count--;
        }
        if (low && !c[-1].used) {
            c[-1].size += c->size;
            memmove(c, c + 1, (h->count - low - 1) * sizeof(*c));
            h->count--;
        }
        if (h->next >= h->count)
            h->next = 0;
    }
    pthread_mutex_unlock(&h->lock);
    return found;
}
