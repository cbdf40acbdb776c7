/* SPDX-License-Identifier: MIT */
#include "trace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dispatch.h"

/* Tail elements printed before the rest is only counted. */
#define TRACE_TAIL_SHOWN 8

static pthread_once_t trace_once = PTHREAD_ONCE_INIT;
static int trace_fd = -1;

static void open_once(void)
{
    const char *to = getenv("VIADUCT_TRACE");

    if (!to || !*to || !strcmp(to, "0"))
        return;
    if (!strcmp(to, "1") || !strcmp(to, "stderr"))
        trace_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        trace_fd = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

void trace_open(void)
{
    pthread_once(&trace_once, open_once);
}

bool trace_enabled(void)
{
    trace_open();
    return trace_fd >= 0;
}

struct text {
    char *at;
    size_t room, used;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *text, const char *format, ...)
{
    size_t left = text->used < text->room ? text->room - text->used : 0;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(left ? text->at + text->used : NULL, left, format, args);
    va_end(args);
    if (n > 0)
        text->used += (size_t)n;
}

static void put_struct(struct text *text, const struct dispatch_struct *s, const uint8_t *bytes)
{
    for (uint32_t i = 0; i < s->field_count; i++) {
        const struct dispatch_field *f = &s->fields[i];
        uint32_t u32 = 0;
        uint64_t u64 = 0;

        switch (f->kind) {
        case DISPATCH_U32:
        case DISPATCH_FLAGS:
            memcpy(&u32, bytes, sizeof(u32));
            put(text, u32 > 0xffff ? " %s=%#" PRIx32 : " %s=%" PRIu32, f->name, u32);
            break;
        case DISPATCH_U64:
            memcpy(&u64, bytes, sizeof(u64));
            put(text, " %s=%#" PRIx64, f->name, u64);
            break;
        case DISPATCH_U32N:
            put(text, " %s=[", f->name);
            for (uint32_t j = 0; j < f->count; j++) {
                memcpy(&u32, bytes + 4 * (size_t)j, sizeof(u32));
                if (u32 || j == 0)
                    put(text, "%s%#" PRIx32, j ? "," : "", u32);
            }
            put(text, "]");
            break;
        case DISPATCH_TEXT:
            put(text, " %s=\"%.*s\"", f->name, (int)f->count - 1, (const char *)bytes);
            break;
        case DISPATCH_ZERO:
            memcpy(&u32, bytes, sizeof(u32));
            if (u32)
                put(text, " %s=%" PRIu32 "(must be zero)", f->name, u32);
            break;
        }
        bytes += f->size;
    }
}

size_t trace_format(const char *direction, const void *bytes, size_t size, char *text, size_t room)
{
    struct text out = {text, room, 0};
    const struct dispatch_call *call;
    const struct dispatch_event *event;
    const struct dispatch_struct *fixed, *tail;
    const uint8_t *at = bytes;
    struct vd_header header;
    bool reply;

    if (room)
        text[0] = 0;
    put(&out, "%s ", direction);
    if (size < sizeof(header)) {
        put(&out, "fragment of %zu bytes", size);
        return out.used;
    }
    memcpy(&header, bytes, sizeof(header));
    for (size_t i = 0; (event = dispatch_event_at(i)) && event->number != header.op; i++)
        ;
    reply = header.op & VD_REPLY;
    call = dispatch_find(header.op & ~VD_REPLY);
    if (!event && (!call || (reply && !call->rep))) {
        put(&out, "unknown call %#" PRIx32 ", %zu bytes", header.op, size);
        return out.used;
    }
    if (event) {
        put(&out, "%s event", event->name);
        fixed = event->fixed;
        tail = event->tail;
    } else {
        put(&out, "%s%s #%" PRIu32, call->name, reply ? " reply" : "", header.serial);
        fixed = reply ? call->rep : call->req;
        tail = reply ? call->rep_tail : call->req_tail;
    }
    at += sizeof(header);
    size -= sizeof(header);
    if (size < fixed->size) {
        put(&out, " cut short (%zu of %" PRIu32 " bytes)", size, fixed->size);
        return out.used;
    }
    put_struct(&out, fixed, at);
    at += fixed->size;
    size -= fixed->size;
    for (uint32_t i = 0; tail && i < header.tail && size >= tail->size; i++) {
        if (i == TRACE_TAIL_SHOWN) {
            put(&out, " ... %" PRIu32 " more", header.tail - i);
            break;
        }
        put(&out, " {");
        put_struct(&out, tail, at);
        put(&out, " }");
        at += tail->size;
        size -= tail->size;
    }
    return out.used;
}

void trace_message(const char *direction, const void *bytes, size_t size)
{
    char line[4096];
    struct timespec now;
    size_t used;
    int n;

    if (!trace_enabled())
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    n = snprintf(line, sizeof(line), "viaduct: %lld.%06ld [%d] ", (long long)now.tv_sec,
                 now.tv_nsec / 1000, (int)getpid());
    used = (size_t)n + trace_format(direction, bytes, size, line + n, sizeof(line) - (size_t)n - 1);
    if (used > sizeof(line) - 2)
        used = sizeof(line) - 2;
    line[used++] = '\n';
    if (write(trace_fd, line, used) < 0)
        return;
}
