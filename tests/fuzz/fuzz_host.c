/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <transport/arena.h>
#include <transport/channel.h>
#include <unistd.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>

#include "../unit/picture.h"
#include "engine.h"
#include "session.h"

/*
 * A hostile guest: the input is a script of what it sends and writes into the upload zone. The
 * first message is a valid HELLO, so that the rest gets somewhere.
 *
 * Input: a byte of options, then records, each a byte of kind and what belongs to it:
 *   message  (kind & 15: call) u8 tail elements, fixed part, tail; the header is made for it.
 *            FIX: numbers that only count are put right; WITH_FD: a descriptor goes along
 *   UPLOAD   u16 offset / 8, u16 size, bytes
 *   RAW      u16 size, bytes
 */
enum {
    OPTION_AVCODEC = 1,
    OPTION_THREADS = 2,
    KIND_FIX = 0x10,
    KIND_WITH_FD = 0x20,
    KIND_UPLOAD = 0x40,
    KIND_RAW = 0x80,
    KIND_PAUSE = 0xc0,
};

#define MAX_RECORD 8192

struct script {
    struct channel base;
    struct fuzz_input input;
    struct arena arena;
    uint32_t serial, submission;
    uint8_t message[sizeof(struct vd_header) + 256 * 64];
    size_t start, end;
    int fd; /* goes with the message */
    bool hello;
};

static const uint64_t upload_begin =
    (sizeof(struct vd_status_page) + (2u << 20) - 1) / (2u << 20) * (2u << 20);

static int make_memory(uint8_t how)
{
    int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, 16384) < 0)
        abort();
    if (how != 1)
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    return fd;
}

static void make_message(struct script *s, uint8_t kind)
{
    const struct dispatch_call *call = dispatch_find(kind & 15);
    uint8_t tail = fuzz_byte(&s->input);
    struct vd_header header = {.op = kind & 15, .tail = tail};
    size_t size = sizeof(header);

    if (call) {
        size += call->req->size + (call->req_tail ? tail * (size_t)call->req_tail->size : 0);
        if (!call->req_tail && kind & KIND_FIX)
            header.tail = 0;
        header.serial = call->kind == DISPATCH_CALL ? ++s->serial : 0;
    }
    header.size = (uint32_t)size;
    memcpy(s->message, &header, sizeof(header));
    fuzz_take(&s->input, s->message + sizeof(header), size - sizeof(header));
    if (kind & KIND_FIX && header.op == VD_OP_submit) {
        s->submission++;
        memcpy(s->message + sizeof(header) + offsetof(struct vd_submit_req, submission),
               &s->submission, sizeof(s->submission));
    }
    if (kind & KIND_WITH_FD)
        s->fd = make_memory(tail);
    s->start = 0;
    s->end = size;
}

static void make_hello(struct script *s)
{
    struct vd_hello_req req = {
        .magic = VD_MAGIC, .major = VD_MAJOR, .features = VD_FEATURES, .name = "fuzz"};
    struct vd_header header = {sizeof(header) + sizeof(req), VD_OP_hello, ++s->serial, 0};

    memcpy(s->message, &header, sizeof(header));
    memcpy(s->message + sizeof(header), &req, sizeof(req));
    s->end = sizeof(header) + sizeof(req);
    s->hello = true;
}

static void upload(struct script *s)
{
    uint64_t offset = fuzz_word(&s->input) * 8u;
    uint16_t size = fuzz_word(&s->input);

    if (size > MAX_RECORD)
        size = MAX_RECORD;
    if (s->arena.base)
        fuzz_take(&s->input, s->arena.base + s->arena.upload_offset + offset, size);
}

static int script_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                       int *ret_fd, int timeout_ms)
{
    struct script *s = (struct script *)channel;
    size_t n;

    (void)timeout_ms;
    while (s->start == s->end) {
        uint8_t kind;

        s->start = s->end = 0;
        if (!s->hello) {
            make_hello(s);
            break;
        }
        if (!s->input.size)
            return VD_ERR_GONE;
        kind = fuzz_byte(&s->input);
        if (kind >= KIND_PAUSE) {
            usleep(100);
        } else if (kind & KIND_RAW) {
            s->end = fuzz_word(&s->input) % MAX_RECORD;
            fuzz_take(&s->input, s->message, s->end);
        } else if (kind & KIND_UPLOAD) {
            upload(s);
        } else {
            make_message(s, kind);
        }
    }
    n = s->end - s->start < room ? s->end - s->start : room;
    memcpy(bytes, s->message + s->start, n);
    s->start += n;
    *ret_size = n;
    *ret_fd = s->fd;
    s->fd = -1;
    return 0;
}

/* Replies are not read, but for the arena that comes with the first. */
static int script_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                       int timeout_ms)
{
    struct script *s = (struct script *)channel;
    size_t size = 0;

    (void)timeout_ms;
    for (int i = 0; i < count; i++)
        size += iov[i].iov_len;
    if (((const struct vd_header *)iov[0].iov_base)->size != size)
        abort();
    if (fd >= 0 && !s->arena.base &&
        arena_open(&s->arena, fcntl(fd, F_DUPFD_CLOEXEC, 3), iov[1].iov_base))
        abort();
    return 0;
}

static bool script_alive(struct channel *channel)
{
    return ((struct script *)channel)->input.size > 0;
}

static void script_destroy(struct channel *channel)
{
    (void)channel;
}

static const struct channel_ops script_ops = {
    .scheme = "script",
    .shares_memory = true,
    .send = script_send,
    .recv = script_recv,
    .alive = script_alive,
    .destroy = script_destroy,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct session_limits limits = {.contexts = 3, .surfaces = 24, .bytes = 4 << 20};
    static struct script s;
    struct backend_options options = {.threads = 1};
    static struct backend_set null = {
        .at = {{.backend = &backend_null}}, .count = 1, .name = "null"};
    static struct backend_set software;
    struct stats_counters stats = {0};
    int before = fuzz_descriptors();
    uint8_t option;

    memset(&s, 0, sizeof(s));
    s.base.ops = &script_ops;
    s.input = (struct fuzz_input){data, size};
    s.arena.fd = s.fd = -1;
    option = fuzz_byte(&s.input);
    if (option & OPTION_THREADS)
        options.threads = 3;
    if (!software.count && engine_select("avcodec:software", &options, &software))
        software = null;
    session_serve(&s.base, option & OPTION_AVCODEC ? &software : &null, &options, &limits, &stats,
                  NULL, NULL);
    if (s.fd >= 0)
        close(s.fd);
    arena_finish(&s.arena);
    if (fuzz_descriptors() != before) {
        fprintf(stderr, "descriptors left open\n");
        abort();
    }
    return 0;
}

/* Seeds. */

#define CONTEXT 0x20000001u
#define SURFACE 0x30000000u

static void put_message(struct fuzz_writer *w, uint32_t op, uint8_t flags, const void *req,
                        const void *tail, uint8_t count)
{
    const struct dispatch_call *call = dispatch_find(op);

    fuzz_put_byte(w, (uint8_t)(op | flags));
    fuzz_put_byte(w, count);
    fuzz_put(w, req, call->req->size);
    if (call->req_tail)
        fuzz_put(w, tail, count * (size_t)call->req_tail->size);
}

static struct vd_buffer_ref put_buffer(struct fuzz_writer *w, uint32_t *at, uint32_t type,
                                       const void *bytes, uint32_t size)
{
    struct vd_buffer_ref ref = {
        .type = type, .size = size, .count = 1, .offset = upload_begin + *at};

    fuzz_put_byte(w, KIND_UPLOAD);
    fuzz_put_word(w, (uint16_t)(*at / 8));
    fuzz_put_word(w, (uint16_t)size);
    fuzz_put(w, bytes, size);
    *at += (size + 63) / 64 * 64;
    return ref;
}

static void put_picture(struct fuzz_writer *w, const struct picture *p, uint32_t surface,
                        uint32_t sequence, uint32_t flags)
{
    struct vd_submit_req req = {
        .context = CONTEXT, .surface = surface, .sequence = sequence, .flags = flags};
    struct vd_buffer_ref refs[4];
    uint32_t at = 0;

    refs[0] = put_buffer(w, &at, VAPictureParameterBufferType, &p->param, sizeof(p->param));
    refs[1] = put_buffer(w, &at, VAIQMatrixBufferType, &p->matrix, sizeof(p->matrix));
    refs[2] = put_buffer(w, &at, VASliceParameterBufferType, &p->slice, sizeof(p->slice));
    refs[3] = put_buffer(w, &at, VASliceDataBufferType, p->data, p->data_size);
    put_message(w, VD_OP_submit, KIND_FIX, &req, refs, 4);
}

static void put_start(struct fuzz_writer *w, uint32_t fourcc)
{
    struct vd_context_create_req context = {
        CONTEXT, VAProfileH264High, VAEntrypointVLD, VA_RT_FORMAT_YUV420, 16, 16, 0, 0};
    struct vd_surface_create_req surface = {fourcc, 16, 16, 0};
    struct vd_id ids[4] = {{SURFACE}, {SURFACE + 1}, {SURFACE + 2}, {SURFACE + 3}};

    put_message(w, VD_OP_context_create, KIND_FIX, &context, NULL, 0);
    put_message(w, VD_OP_surface_create, KIND_FIX, &surface, ids, 4);
}

static void put_end(struct fuzz_writer *w)
{
    struct vd_context_destroy_req context = {CONTEXT, 0};
    struct vd_surface_destroy_req surface = {0};
    struct vd_id ids[2] = {{SURFACE}, {SURFACE + 1}};

    put_message(w, VD_OP_surface_destroy, KIND_FIX, &surface, ids, 2);
    put_message(w, VD_OP_context_destroy, KIND_FIX, &context, NULL, 0);
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};
    struct vd_surface_back_req back = {SURFACE + 3, 0};
    struct vd_surface_import_req import = {
        SURFACE + 2, 3, 16384, {64, 64, 64, 0}, {0, 4096, 8192, 0}};
    struct vd_surface_export_req export = {SURFACE, VD_EXPORT_READ, 0, 0};
    struct picture p;

    if (index >= 8)
        return 0;
    /* Back end, threads and format by the bits of the index. */
    fuzz_put_byte(&w, (uint8_t)(index & 3));
    put_start(&w, index & 4 ? VA_FOURCC_NV12 : VA_FOURCC_I420);
    if (!(index & 4))
        put_message(&w, VD_OP_surface_import, KIND_FIX | KIND_WITH_FD, &import, NULL, 0);
    for (uint32_t i = 0; i < 5; i++) {
        struct vd_kick_req kick = {CONTEXT, i + 1};

        if (i)
            picture_p(&p, SURFACE + i % 3, SURFACE + (i - 1) % 3, i);
        else
            picture_idr(&p, SURFACE);
        put_picture(&w, &p, SURFACE + i % 3, i / 3 + 1, i == 4 ? VD_SUBMIT_FIXED : 0);
        if (i % 2)
            put_message(&w, VD_OP_kick, KIND_FIX, &kick, NULL, 0);
        if (i % 2)
            fuzz_put_byte(&w, KIND_PAUSE);
    }
    put_message(&w, VD_OP_surface_back, KIND_FIX, &back, NULL, 0);
    put_message(&w, VD_OP_surface_export, KIND_FIX, &export, NULL, 0);
    put_end(&w);
    return w.used;
}
