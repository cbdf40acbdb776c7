/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <stdio.h>
#include <transport/arena.h>
#include <transport/channel.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/dispatch.h>

#include <compute/cuda/device.h>
#include <compute/cuda/texture.h>

#include "engine.h"
#include "session.h"

/*
 * A hostile guest of a session for CUDA, on the executor for PTX: a script of messages, in the
 * channel or in the ring. HELLO and the text of a module, which works, come first, so that the rest
 * gets somewhere.
 *
 * Input: a byte, whose lowest bit says that no memory is shared; then records, each a byte of kind
 * and what belongs to it:
 *   message  (kind & 31: call - 32; 31: arena_write) u8 tail words, fixed part, tail; the header is
 *            made for it. RING: it stands in the ring; FIX: slots, sizes and addresses become small
 *            or right ones, and a call that wants a descriptor gets one
 *   RAW      u16 size, bytes: into the channel, or the ring
 *   PAUSE
 */
enum {
    KIND_RING = 0x20,
    KIND_FIX = 0x40,
    KIND_RAW = 0x80,
    KIND_PAUSE = 0xff,
};

#define FIRST      32u
#define MAX_RECORD 4096

static const char text[] =
    ".version 7.8\n.target sm_80\n.address_size 64\n"
    ".global .align 4 .u32 counter = 7;\n"
    ".visible .entry put(.param .u64 out, .param .u32 value) {\n"
    "  .reg .b32 %r; .reg .b64 %d;\n"
    "  ld.param.u64 %d, [out]; ld.param.u32 %r, [value]; st.global.u32 [%d], %r; ret; }\n"
    ".visible .entry loop() { .reg .pred %p; again: bra again; }\n"
    ".visible .entry empty() { ret; }\n";

struct script {
    struct channel base;
    struct fuzz_input input;
    struct arena arena;
    uint32_t serial, filled;
    uint64_t text_at, address, reserved;
    uint64_t message[(sizeof(struct vd_header) + 128 + 256 * 8) / 8];
    size_t start, end;
    bool hello, in_band, text;
    int fd;             /* comes with what is received next; -1: none */
    _Atomic bool alive; /* there is more to come; a thread that watches kernels asks, too */
};

static struct vd_cuda_status *status_of(const struct script *s)
{
    return (struct vd_cuda_status *)(s->arena.base + s->arena.upload_offset);
}

static void put_ring(struct script *s, const void *bytes, size_t size)
{
    struct vd_cuda_status *status;

    /* Without shared memory there is none: the message goes the other way. */
    if (!s->arena.base && size <= sizeof(s->message)) {
        if (bytes != s->message)
            memcpy(s->message, bytes, size);
        s->start = 0;
        s->end = size;
    }
    if (!s->arena.base)
        return;
    status = status_of(s);
    for (size_t i = 0; i < size; i++)
        status->ring[(s->filled + i) % VD_CUDA_RING_BYTES] = ((const uint8_t *)bytes)[i];
    s->filled += (uint32_t)size;
    __atomic_store_n(&status->filled, s->filled, __ATOMIC_RELEASE);
}

/* Fields whose values no mutation would find. */
static void fix(struct script *s, const struct dispatch_call *call, uint8_t *fixed)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < call->req->field_count; i++) {
        const struct dispatch_field *f = &call->req->fields[i];
        uint32_t u32;
        uint64_t u64;

        memcpy(&u32, fixed + at, 4);
        memcpy(&u64, fixed + at, f->size < 8 ? 4 : 8);
        if (f->kind == DISPATCH_U32) {
            u32 = !strcmp(f->name, "bytes")             ? 4u << (u32 & 1)
                  : !strcmp(f->name, "magic")           ? u32
                  : !strcmp(f->name, "element")         ? 1u << (u32 & 1)
                  : !strcmp(f->name, "parameter_bytes") ? u32 & 16
                                                        : u32 & 3;
            memcpy(fixed + at, &u32, 4);
        } else if (f->kind == DISPATCH_FLAGS) {
            u32 &= f->count;
            memcpy(fixed + at, &u32, 4);
        } else if (f->kind == DISPATCH_ZERO) {
            memset(fixed + at, 0, 4);
        } else if (f->kind == DISPATCH_U32N) {
            for (uint32_t j = 0; j < f->count; j++)
                fixed[at + 4 * j + 1] = fixed[at + 4 * j + 2] = fixed[at + 4 * j + 3] = 0;
        } else if (f->kind == DISPATCH_U64) {
            bool offset = strstr(f->name, "offset") || strstr(f->name, "room_offset");

            bool maps =
                call->number == VD_OP_cuda_memory_map || call->number == VD_OP_cuda_memory_import;

            if (call->number == VD_OP_cuda_memory_share)
                u64 = s->address;
            else if (call->number >= VD_OP_cuda_virtual_reserve)
                u64 = !strcmp(f->name, "address")  ? s->reserved + (u64 & 3) * VD_CUDA_GRANULARITY
                      : !strcmp(f->name, "wanted") ? 0
                      : !strcmp(f->name, "align")  ? 1ull << (u64 & 31)
                                                   : (u64 & 3) * VD_CUDA_GRANULARITY;
            else if (!strcmp(f->name, "offset") && call->number == VD_OP_cuda_module_create)
                u64 = s->text_at;
            else if (!strcmp(f->name, "offset") && call->number == VD_OP_cuda_memory_import)
                u64 = (u64 & 3) * 4096;
            else if (maps && !strcmp(f->name, "address"))
                u64 = ((uint64_t)0x60 << 40) + (u64 & 0xff) * 4096;
            else if (call->number == VD_OP_cuda_memory_map && offset)
                u64 = s->arena.frame_offset + (u64 & 0xff) * 4096;
            else if (offset)
                u64 = s->text_at + 65536 + (u64 & 0xfff) * 8;
            else if (!strcmp(f->name, "address") || !strcmp(f->name, "to") ||
                     !strcmp(f->name, "from"))
                u64 = u64 & 1   ? s->text_at + (u64 & 0xff)
                      : u64 & 2 ? s->reserved + VD_CUDA_GRANULARITY - 8 + (u64 & 0xf0)
                                : s->address + (u64 & 0xf0);
            else if (!strcmp(f->name, "room"))
                u64 = VD_CUDA_LOG_BYTES + (u64 & 0xff8);
            else if (!strcmp(f->name, "size") && call->number == VD_OP_cuda_module_create)
                u64 = sizeof(text) - 1;
            else
                u64 &= 0xfff;
            memcpy(fixed + at, &u64, 8);
        }
        at += f->size;
    }
}

/* A descriptor that a host takes. */
static int make_descriptor(off_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)))
        abort();
    return fd;
}

static void make_message(struct script *s, uint8_t kind)
{
    uint32_t op = (kind & 31) == 31 ? (uint32_t)VD_OP_arena_write
                  : (kind & 31) == 30
                      ? (uint32_t)VD_OP_cuda_virtual_reserve + (fuzz_byte(&s->input) & 7u)
                      : FIRST + (kind & 31);
    const struct dispatch_call *call = dispatch_find(op);
    uint8_t tail = fuzz_byte(&s->input);
    struct vd_header header = {.op = op, .tail = tail};
    uint8_t *bytes = (uint8_t *)s->message;
    size_t size = sizeof(header);

    if (call) {
        if (!call->req_tail && kind & KIND_FIX)
            header.tail = tail = 0;
        size += call->req->size + (call->req_tail ? tail * (size_t)call->req_tail->size : 0);
        header.serial = call->kind == DISPATCH_CALL ? ++s->serial : 0;
    }
    header.size = (uint32_t)size;
    memcpy(bytes, &header, sizeof(header));
    fuzz_take(&s->input, bytes + sizeof(header), size - sizeof(header));
    if (call && kind & KIND_FIX)
        fix(s, call, bytes + sizeof(header));
    if (kind & KIND_RING)
        put_ring(s, bytes, size);
    else
        s->end = size;
    s->start = 0;
    if (kind & KIND_FIX && !s->in_band && s->end && s->fd < 0) {
        if (op == VD_OP_cuda_memory_import)
            s->fd = make_descriptor(65536);
        else if (op == VD_OP_cuda_physical_create && header.serial & 1)
            s->fd = make_descriptor(VD_CUDA_GRANULARITY);
        else if (op == VD_OP_cuda_memory_share)
            s->fd = make_descriptor(4096);
    }
}

/* Where no memory is shared the text of the module is sent. */
static void make_text(struct script *s)
{
    struct vd_arena_write_req req = {.offset = s->text_at};
    uint32_t words = (sizeof(text) + 7) / 8;
    struct vd_header header = {
        .size = sizeof(header) + sizeof(req) + words * 8, .op = VD_OP_arena_write, .tail = words};
    uint8_t *bytes = (uint8_t *)s->message;

    memset(bytes, 0, header.size);
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), &req, sizeof(req));
    memcpy(bytes + sizeof(header) + sizeof(req), text, sizeof(text));
    s->end = header.size;
    s->text = true;
}

static void make_hello(struct script *s)
{
    struct vd_hello_req req = {.magic = VD_MAGIC,
                               .major = VD_MAJOR,
                               .features = VD_FEATURES | VD_FEATURE_CUDA,
                               .name = "fuzz"};
    struct vd_header header = {sizeof(header) + sizeof(req), VD_OP_hello, ++s->serial, 0};

    memcpy(s->message, &header, sizeof(header));
    memcpy((uint8_t *)s->message + sizeof(header), &req, sizeof(req));
    s->end = sizeof(header) + sizeof(req);
    s->hello = true;
}

static void make_raw(struct script *s, uint8_t kind)
{
    size_t size = fuzz_word(&s->input) % sizeof(s->message);

    fuzz_take(&s->input, s->message, size);
    if (kind & KIND_RING)
        put_ring(s, s->message, size);
    else
        s->end = size;
}

static int script_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                       int *ret_fd, int timeout_ms)
{
    struct script *s = (struct script *)channel;
    size_t n;

    *ret_fd = -1;
    while (s->start == s->end) {
        uint8_t kind;

        s->start = s->end = 0;
        if (!s->hello) {
            make_hello(s);
            break;
        }
        if (s->in_band && !s->text) {
            make_text(s);
            break;
        }
        if (!s->input.size)
            return VD_ERR_GONE;
        kind = fuzz_byte(&s->input);
        s->alive = s->input.size > 0;
        if (kind == KIND_PAUSE)
            usleep(100);
        else if (kind & KIND_RAW)
            make_raw(s, kind);
        else
            make_message(s, kind);
        s->alive = s->input.size > 0;
        /* What stands in the ring is looked at between two of the channel. */
        if (kind & KIND_RING && !timeout_ms && !s->in_band)
            return VD_ERR_TIMEOUT;
    }
    n = s->end - s->start < room ? s->end - s->start : room;
    memcpy(bytes, (uint8_t *)s->message + s->start, n);
    s->start += n;
    *ret_size = n;
    *ret_fd = s->fd;
    s->fd = -1;
    return 0;
}

/* Replies are not read, but for the arena, and addresses, which no guess would find. */
static int script_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                       int timeout_ms)
{
    struct script *s = (struct script *)channel;
    const struct vd_header *header = iov[0].iov_base;

    (void)count, (void)timeout_ms;
    if (fd >= 0 && !s->arena.base) {
        if (arena_open(&s->arena, fcntl(fd, F_DUPFD_CLOEXEC, 3), iov[1].iov_base))
            abort();
        s->text_at = s->arena.upload_offset + (sizeof(struct vd_cuda_status) + 4095) / 4096 * 4096;
        memcpy(s->arena.base + s->text_at, text, sizeof(text));
    }
    if (header->op == (VD_OP_hello | VD_REPLY) && s->in_band)
        s->text_at = ((const struct vd_hello_rep *)iov[1].iov_base)->upload_offset +
                     (sizeof(struct vd_cuda_status) + 4095) / 4096 * 4096;
    if (header->op == (VD_OP_cuda_memory_create | VD_REPLY))
        s->address = ((const struct vd_cuda_memory_create_rep *)iov[1].iov_base)->address;
    if (header->op == (VD_OP_cuda_virtual_reserve | VD_REPLY))
        s->reserved = ((const struct vd_cuda_virtual_reserve_rep *)iov[1].iov_base)->address;
    return 0;
}

static bool script_alive(struct channel *channel)
{
    return ((struct script *)channel)->alive;
}

static void script_nothing(struct channel *channel)
{
    (void)channel;
}

static const struct channel_ops script_ops = {
    .scheme = "script",
    .shares_memory = true,
    .send = script_send,
    .recv = script_recv,
    .alive = script_alive,
    .shut = script_nothing,
    .destroy = script_nothing,
};

static const struct channel_ops script_in_band_ops = {
    .scheme = "script",
    .send = script_send,
    .recv = script_recv,
    .alive = script_alive,
    .shut = script_nothing,
    .destroy = script_nothing,
};

/* The executor, with arrays and textures that are nothing but memory and numbers. */
static struct cuda_backend arrays;

static int array_create(struct cuda_device *device, struct cuda_context *context,
                        const struct cuda_array_shape *shape, uint64_t *ret_address)
{
    struct cuda_texture t;

    return cuda_backend_ptx.memory_create(device, context, cuda_texture_lay_out(shape, &t),
                                          ret_address);
}

/* The session has looked: the last byte of its last row is there. */
static int texture_create(struct cuda_context *context, const struct cuda_texture *t,
                          uint64_t *ret_handle)
{
    (void)context;
    *ret_handle = t->address;
    return t->width && t->height && cuda_texture_bytes(t->format) ? 0 : CUDA_ERROR_UNKNOWN;
}

static void texture_destroy(struct cuda_context *context, uint64_t handle, bool surface)
{
    (void)context, (void)handle, (void)surface;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cuda_limits cuda = {.bytes = 16 << 20, .seconds = 1};
    static const struct session_limits limits = {
        .contexts = 3, .surfaces = 24, .bytes = 4 << 20, .cuda = &arrays, .cuda_bytes = 16 << 20};
    static const struct backend_set null = {
        .at = {{.backend = &backend_null}}, .count = 1, .name = "null"};
    static struct script s;
    struct backend_options options = {.threads = 1};
    struct stats_counters stats = {0};
    int before = fuzz_descriptors();

    ptx_set_limits(&cuda);
    memset(&s, 0, sizeof(s));
    arrays = cuda_backend_ptx;
    arrays.array_create = array_create;
    arrays.texture_create = texture_create;
    arrays.texture_destroy = texture_destroy;
    s.input = (struct fuzz_input){data, size};
    s.arena.fd = -1;
    s.fd = -1;
    s.in_band = fuzz_byte(&s.input) & 1;
    s.alive = s.input.size > 0;
    s.base.ops = s.in_band ? &script_in_band_ops : &script_ops;
    session_serve(&s.base, &null, &options, &limits, &stats, NULL, NULL);
    if (s.fd >= 0)
        close(s.fd);
    arena_finish(&s.arena);
    if (fuzz_descriptors() != before) {
        fprintf(stderr, "descriptors left open\n");
        abort();
    }
    return 0;
}

/* Seeds: a session that works, by the channel, by the ring, without shared memory, and one that
 * leaves a kernel behind. */

static void put(struct fuzz_writer *w, uint32_t op, uint8_t flags, const void *req,
                const void *tail, uint8_t words)
{
    const struct dispatch_call *call = dispatch_find(op);

    bool apart = op >= VD_OP_cuda_virtual_reserve;

    fuzz_put_byte(w, (uint8_t)((op == VD_OP_arena_write ? 31 : apart ? 30 : op - FIRST) | flags));
    if (apart)
        fuzz_put_byte(w, (uint8_t)(op - VD_OP_cuda_virtual_reserve));
    fuzz_put_byte(w, words);
    fuzz_put(w, req, call->req->size);
    if (call->req_tail)
        fuzz_put(w, tail, words * (size_t)8);
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};
    uint8_t how = (uint8_t)(KIND_FIX | (index & 1 ? KIND_RING : 0));
    struct vd_cuda_open_req opened = {0};
    struct vd_cuda_context_create_req context = {0};
    struct vd_cuda_memory_create_req memory = {.size = 0x800};
    struct vd_cuda_module_create_req module = {.room = 0x800};
    struct vd_cuda_queue_create_req queue = {0};
    struct vd_cuda_launch_req launch = {.kernel = (uint32_t)index % 3,
                                        .grid = {1, 1, 1},
                                        .block = {1, 1, 1},
                                        .parameter_bytes = 16};
    struct vd_cuda_copy_req copy = {.flags = VD_CUDA_COPY_FROM_HOST,
                                    .from = 1,
                                    .to = 16,
                                    .to_pitch = 16,
                                    .from_pitch = 16,
                                    .width = 16,
                                    .height = 1,
                                    .depth = 1};
    struct vd_cuda_set_req set = {.element = 1, .address = 16, .width = 16, .height = 1};
    struct vd_cuda_wait_req wait = {.other = 1, .number = index & 4 ? 1 : 50};
    struct vd_cuda_stamp_req stamp = {.stamp = 1};
    struct vd_cuda_value_req value = {.flags = index & 4, .bytes = 4, .address = 16};
    struct vd_cuda_nothing_req nothing = {.queue = 1};
    struct vd_cuda_print_req print = {0};
    struct vd_cuda_memory_map_req map = {.offset = 3, .size = 0x800, .address = 3};
    struct vd_cuda_memory_info_req info = {0};
    struct vd_cuda_free_req freed = {.address = 0};
    struct vd_cuda_memory_import_req import = {.offset = 1, .size = 0x800, .address = 9};
    struct vd_cuda_memory_unmap_req unmap = {.address = 0};
    struct vd_cuda_fault_req fault = {0};
    struct vd_cuda_virtual_reserve_req reserve = {.size = 3};
    struct vd_cuda_physical_create_req physical = {.size = 1};
    struct vd_cuda_virtual_map_req there = {.size = 1};
    struct vd_cuda_virtual_allow_req allow = {.size = 2, .access = 2};
    struct vd_cuda_virtual_unmap_req leave = {.size = 2};
    struct vd_cuda_physical_destroy_req end = {0};
    struct vd_cuda_set_req across = {.element = 1, .address = 2, .width = 16, .height = 1};
    struct vd_cuda_array_create_req array = {
        .width = 3, .height = 2, .format = 1, .channels = 1, .levels = 2};
    struct vd_cuda_texture_create_req texture = {.magic = CUDA_TEXTURE_MAGIC,
                                                 .format = 1,
                                                 .address = 16,
                                                 .pitch = 32,
                                                 .width = 3,
                                                 .height = 2,
                                                 .depth = 1,
                                                 .channels = 1};
    struct vd_cuda_texture_destroy_req gone = {.handle = 16};
    struct vd_cuda_copy_req back = {.flags = VD_CUDA_COPY_TO_HOST,
                                    .to = 1,
                                    .from = 16,
                                    .to_pitch = 16,
                                    .from_pitch = 16,
                                    .width = 16,
                                    .height = 1,
                                    .depth = 1};
    struct vd_arena_write_req written = {.offset = 1};
    uint64_t parameters[2] = {0, 1};
    bool in_band = index >= 8;

    if (index >= 12)
        return 0;
    fuzz_put_byte(&w, in_band);
    put(&w, VD_OP_cuda_open, KIND_FIX, &opened, NULL, 0);
    put(&w, VD_OP_cuda_context_create, KIND_FIX, &context, NULL, 0);
    put(&w, VD_OP_cuda_memory_create, KIND_FIX, &memory, NULL, 0);
    if (!in_band) {
        put(&w, VD_OP_cuda_memory_map, KIND_FIX, &map, NULL, 0);
        put(&w, VD_OP_cuda_memory_import, KIND_FIX, &import, NULL, 0);
    } else {
        put(&w, VD_OP_arena_write, KIND_FIX, &written, parameters, 2);
    }
    put(&w, VD_OP_cuda_module_create, KIND_FIX, &module, NULL, 0);
    put(&w, VD_OP_cuda_memory_info, KIND_FIX, &info, NULL, 0);
    for (uint32_t i = 0; i < 2; i++) {
        queue.queue = i;
        put(&w, VD_OP_cuda_queue_create, how, &queue, NULL, 0);
    }
    put(&w, VD_OP_cuda_virtual_reserve, KIND_FIX, &reserve, NULL, 0);
    put(&w, VD_OP_cuda_physical_create, KIND_FIX, &physical, NULL, 0);
    put(&w, VD_OP_cuda_virtual_map, KIND_FIX, &there, NULL, 0);
    there.address = 1;
    put(&w, VD_OP_cuda_virtual_map, KIND_FIX, &there, NULL, 0);
    put(&w, VD_OP_cuda_virtual_allow, KIND_FIX, &allow, NULL, 0);
    put(&w, VD_OP_cuda_set, how, &across, NULL, 0);
    put(&w, VD_OP_cuda_copy, how, &copy, NULL, 0);
    put(&w, VD_OP_cuda_copy, how, &back, NULL, 0);
    put(&w, VD_OP_cuda_set, how, &set, NULL, 0);
    put(&w, VD_OP_cuda_stamp, how, &stamp, NULL, 0);
    put(&w, VD_OP_cuda_nothing, how, &nothing, NULL, 0);
    put(&w, VD_OP_cuda_launch, how, &launch, parameters, 2);
    put(&w, VD_OP_cuda_value, how, &value, NULL, 0);
    put(&w, VD_OP_cuda_wait, how, &wait, NULL, 0);
    put(&w, VD_OP_cuda_free, how, &freed, NULL, 0);
    put(&w, VD_OP_cuda_array_create, KIND_FIX, &array, NULL, 0);
    put(&w, VD_OP_cuda_texture_create, KIND_FIX, &texture, NULL, 0);
    put(&w, VD_OP_cuda_texture_destroy, how, &gone, NULL, 0);
    fuzz_put_byte(&w, KIND_PAUSE);
    if (index & 1) {
        put(&w, VD_OP_cuda_virtual_unmap, KIND_FIX, &leave, NULL, 0);
        put(&w, VD_OP_cuda_physical_destroy, KIND_FIX, &end, NULL, 0);
    }
    put(&w, VD_OP_cuda_print, KIND_FIX, &print, NULL, 0);
    put(&w, VD_OP_cuda_fault, KIND_FIX, &fault, NULL, 0);
    if (index & 2)
        put(&w, VD_OP_cuda_memory_unmap, 0, &unmap, NULL, 0);
    return w.used;
}
