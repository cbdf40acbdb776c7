/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <drm_fourcc.h>
#include <fcntl.h>
#include <stdio.h>
#include <transport/arena.h>
#include <transport/channel.h>
#include <transport/fence.h>
#include <unistd.h>
#include <va/va_backend.h>
#include <va/va_backend_vpp.h>
#include <viaduct/errors.h>
#include <viaduct/protocol.h>
#include <wire/dispatch.h>

#include "driver.h"

/*
 * A hostile host: replies, the status page and the places of frame memory come from the input,
 * and so does what the app does meanwhile. Linked with channel_connect and fence_wait wrapped:
 * the first leads the driver to this host, the second shortens its waits.
 *
 * Input: u8 options, u8 n: the first n/256 of the rest are the host's, the others the app's.
 *   host, a record a call: u8 kind (REPLY_*), what it needs, u8 number of writes to the status
 * page, each u8 place, u8 field, u32 value. Behind the end of the input everything succeeds. app:
 * u8 operation, u8 object, then what it needs.
 */
enum { REPLY_GOOD, REPLY_FIELDS, REPLY_RAW, REPLY_NONE, REPLY_KINDS };
enum { OPTION_DEAD = 1, OPTION_NO_FD = 2, OPTION_HONEST_HELLO = 4 };

#define SLOTS      8 /* objects of a kind the app has */
#define APP_STEPS  96
#define OPERATIONS 24
#define MOST_TAIL  70 /* more than any reply may have */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

VAStatus __vaDriverInit_1_0(VADriverContextP ctx);
int __wrap_channel_connect(const char *uri, struct channel **ret_channel);
int __real_fence_wait(uint32_t *word, uint32_t *waiters, uint32_t target, uint64_t timeout_ns,
                      bool (*alive)(void *arg), void *arg);
int __wrap_fence_wait(uint32_t *word, uint32_t *waiters, uint32_t target, uint64_t timeout_ns,
                      bool (*alive)(void *arg), void *arg);

static struct evil {
    struct channel base;
    struct fuzz_input input;
    uint8_t options;
    struct arena arena;
    uint8_t reply[sizeof(struct vd_header) + sizeof(struct vd_hello_rep) +
                  MOST_TAIL * sizeof(struct vd_cap)];
    size_t start, end;
    bool connected;
    int fd;
    uint32_t done[VD_MAX_SURFACES]; /* what a good host would say */
} evil;

static void write_status(struct evil *e)
{
    struct vd_status_page *page = e->arena.status;
    uint8_t writes = fuzz_byte(&e->input) % 8;

    while (writes--) {
        uint8_t place = fuzz_byte(&e->input), field = fuzz_byte(&e->input);
        uint32_t value;

        fuzz_take(&e->input, &value, sizeof(value));
        switch (place % 5) {
        case 0:
            ((uint32_t *)&page->surfaces[place / 5 % SLOTS])[field % 5] = value;
            break;
        case 1:
            page->backings[place / 5 % SLOTS].offset =
                field % 2 ? e->arena.frame_offset + value % 1024 * 4096ull
                          : (uint64_t)value << field % 40;
            break;
        case 2:
            page->contexts[place / 5 % 4].done = value;
            break;
        case 4:
            /* What coded buffers say of themselves, wherever they are. */
            memcpy(e->arena.base + e->arena.upload_offset + place / 5 * 64u + field % 8 * 4u,
                   &value, sizeof(value));
            break;
        default:
            page->consumed = value;
        }
    }
}

/* A host that works: pictures are complete when they are submitted. */
static void complete(struct evil *e, const struct vd_submit_req *req)
{
    struct vd_status_page *page = e->arena.status;
    struct vd_surface_slot *slot = &page->surfaces[VD_SLOT(req->surface) % VD_MAX_SURFACES];

    page->consumed = req->submission;
    page->contexts[VD_SLOT(req->context) % VD_MAX_CONTEXTS].done++;
    slot->done = req->sequence;
    slot->backing = VD_SLOT(req->surface) % SLOTS;
}

static size_t hello_reply(struct evil *e, struct vd_hello_rep *rep, struct vd_cap *cap)
{
    static const struct {
        int profile, entrypoint;
    } rows[] = {
        {VAProfileH264High, VAEntrypointVLD},
        {VAProfileH264High, VAEntrypointEncSlice},
        {VAProfileNone, VAEntrypointVideoProc},
    };

    *rep = (struct vd_hello_rep){
        .major = VD_MAJOR,
        .features = VD_FEATURES,
        .arena_size = e->arena.size,
        .upload_offset = e->arena.upload_offset,
        .upload_size = e->arena.upload_size,
        .frame_offset = e->arena.frame_offset,
        .frame_size = e->arena.frame_size,
        .max_contexts = 4,
        .max_surfaces = 32,
        .backend = "evil",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cap[i] = (struct vd_cap){
            .profile = (uint32_t)rows[i].profile,
            .entrypoint = (uint32_t)rows[i].entrypoint,
            .rt_formats = VA_RT_FORMAT_YUV420,
            .min_width = 16,
            .min_height = 16,
            .max_width = 4096,
            .max_height = 4096,
            .format_count = 2,
            .formats = {VA_FOURCC_I420, VA_FOURCC_NV12},
            .attribute_count = 3,
            .attributes = {VAConfigAttribRateControl, VD_ATTRIBUTE_FILTERS, VD_ATTRIBUTE_REFS},
            .values = {VA_RC_CQP, UINT32_MAX, 1u << 16 | 1},
        };
    }
    return COUNT(rows);
}

/* The arena as memory of a device: NV12. */
static size_t export_reply(struct evil *e, struct vd_surface_export_rep *rep,
                           struct vd_export_plane *planes)
{
    *rep = (struct vd_surface_export_rep){.objects = 1, .size = e->arena.size};
    for (uint32_t i = 0; i < 2; i++)
        planes[i] =
            (struct vd_export_plane){.format = DRM_FORMAT_NV12, .offset = i << 20, .pitch = 4096};
    return 2;
}

static void make_reply(struct evil *e, const struct vd_header *request, uint8_t kind)
{
    const struct dispatch_call *call = dispatch_find(request->op);
    struct vd_header header = {.op = request->op | VD_REPLY, .serial = request->serial};
    uint8_t *fixed = e->reply + sizeof(header);
    size_t element = call->rep_tail ? call->rep_tail->size : 0;

    e->start = e->end = 0;
    if (kind == REPLY_NONE || !call->rep)
        return;
    if (kind == REPLY_RAW) {
        e->end = fuzz_word(&e->input) % 1024;
        fuzz_take(&e->input, e->reply, e->end);
        return;
    }
    memset(fixed, 0, call->rep->size);
    if (request->op == VD_OP_hello)
        header.tail = (uint32_t)hello_reply(e, (struct vd_hello_rep *)fixed,
                                            (struct vd_cap *)(fixed + call->rep->size));
    if (request->op == VD_OP_surface_export)
        header.tail = (uint32_t)export_reply(e, (struct vd_surface_export_rep *)fixed,
                                             (struct vd_export_plane *)(fixed + call->rep->size));
    if (request->op == VD_OP_surface_back)
        ((struct vd_surface_back_rep *)fixed)->backing = 1;
    if (kind == REPLY_FIELDS) {
        size_t at, n;

        /* A few bytes of an otherwise good reply; maybe more tail than there is. */
        for (n = fuzz_byte(&e->input) % 4; n; n--) {
            at = fuzz_word(&e->input) % call->rep->size;
            fuzz_take(&e->input, fixed + at / 4 * 4, 4);
        }
        n = call->rep_tail ? fuzz_byte(&e->input) : 0;
        if (n) {
            header.tail = (uint32_t)n % MOST_TAIL;
            fuzz_take(&e->input, fixed + call->rep->size, header.tail * element);
        }
    }
    header.size = (uint32_t)(sizeof(header) + call->rep->size + header.tail * element);
    memcpy(e->reply, &header, sizeof(header));
    e->end = header.size;
}

static int evil_send(struct channel *channel, const struct iovec *iov, int count, int fd,
                     int timeout_ms)
{
    struct evil *e = (struct evil *)channel;
    const struct vd_header *header = iov[0].iov_base;
    uint8_t kind = e->input.size ? fuzz_byte(&e->input) % REPLY_KINDS : REPLY_GOOD;

    (void)count, (void)fd, (void)timeout_ms;
    if (header->op == VD_OP_hello) {
        e->fd = e->options & OPTION_NO_FD ? -1 : e->arena.fd;
        if (e->options & OPTION_HONEST_HELLO)
            kind = REPLY_GOOD;
    }
    if (header->op == VD_OP_surface_export && !(e->options & OPTION_NO_FD))
        e->fd = e->arena.fd;
    make_reply(e, header, kind);
    if (header->op == VD_OP_submit && kind == REPLY_GOOD)
        complete(e, iov[1].iov_base);
    write_status(e);
    return 0;
}

static int evil_recv(struct channel *channel, void *bytes, size_t room, size_t *ret_size,
                     int *ret_fd, int timeout_ms)
{
    struct evil *e = (struct evil *)channel;
    size_t n = e->end - e->start < room ? e->end - e->start : room;

    (void)timeout_ms;
    if (!n)
        return e->options & OPTION_DEAD ? VD_ERR_GONE : VD_ERR_TIMEOUT;
    memcpy(bytes, e->reply + e->start, n);
    e->start += n;
    *ret_size = n;
    *ret_fd = e->fd >= 0 ? fcntl(e->fd, F_DUPFD_CLOEXEC, 3) : -1;
    e->fd = -1;
    return 0;
}

static bool evil_alive(struct channel *channel)
{
    struct evil *e = (struct evil *)channel;

    return !(e->options & OPTION_DEAD) || e->input.size;
}

static void evil_destroy(struct channel *channel)
{
    ((struct evil *)channel)->connected = false;
}

static const struct channel_ops evil_ops = {
    .scheme = "evil",
    .shares_memory = true,
    .send = evil_send,
    .recv = evil_recv,
    .alive = evil_alive,
    .destroy = evil_destroy,
};

int __wrap_channel_connect(const char *uri, struct channel **ret_channel)
{
    (void)uri;
    if (evil.connected)
        return VD_ERR_GONE;
    evil.connected = true;
    evil.start = evil.end = 0;
    *ret_channel = &evil.base;
    return 0;
}

int __wrap_fence_wait(uint32_t *word, uint32_t *waiters, uint32_t target, uint64_t timeout_ns,
                      bool (*alive)(void *arg), void *arg)
{
    return __real_fence_wait(word, waiters, target, timeout_ns < 1000 ? timeout_ns : 1000, alive,
                             arg);
}

/* The app. */
static struct app {
    struct VADriverVTable vtable;
    struct VADriverVTableVPP vpp;
    struct VADriverContext ctx;
    struct fuzz_input input;
    VAConfigID config[SLOTS];
    VAContextID context[SLOTS];
    VASurfaceID surface[SLOTS];
    VABufferID buffer[SLOTS];
    VAImage image[SLOTS];
} app;

/* Every page of what the driver says can be touched. */
static void touch(VABufferID id, size_t size)
{
    volatile uint8_t *bytes;
    void *mapped;

    if (app.vtable.vaMapBuffer(&app.ctx, id, &mapped))
        return;
    bytes = mapped;
    for (size_t i = 0; i < size; i += 4096)
        bytes[i]++;
    if (size)
        bytes[size - 1]++;
    app.vtable.vaUnmapBuffer(&app.ctx, id);
}

/* Walks a coded buffer as programs do. */
static void read_coded(VABufferID id)
{
    unsigned type, size, count;
    void *mapped;

    if (app.vtable.vaBufferInfo(&app.ctx, id, (VABufferType *)&type, &size, &count) ||
        type != VAEncCodedBufferType || app.vtable.vaMapBuffer(&app.ctx, id, &mapped))
        return;
    for (const VACodedBufferSegment *s = mapped; s; s = s->next) {
        const volatile uint8_t *bytes = s->buf;

        for (unsigned i = 0; i < s->size; i += 64)
            (void)bytes[i];
        if (s->size)
            (void)bytes[s->size - 1];
    }
    app.vtable.vaUnmapBuffer(&app.ctx, id);
}

/* Structs with pointers and ids are an honest app's: libva cannot check them either. */
static void fill(VABufferID id, VABufferType type, unsigned slot, size_t size)
{
    VAEncPictureParameterBufferH264 picture = {.coded_buf = app.buffer[(slot + 1) % SLOTS]};
    VAProcPipelineParameterBuffer pipeline = {
        .surface = app.surface[slot % SLOTS],
        .filters = &app.buffer[(slot + 1) % SLOTS],
        .num_filters = slot % 2,
        .forward_references = &app.surface[(slot + 1) % SLOTS],
        .num_forward_references = slot / 2 % 2,
    };
    uint32_t value = slot;
    const void *from =
        type == VAEncPictureParameterBufferType     ? (void *)&picture
        : type == VAProcPipelineParameterBufferType ? (void *)&pipeline
        : type == VAProcFilterParameterBufferType || type == VAEncMiscParameterBufferType
            ? (void *)&value
            : NULL;
    size_t bytes = type == VAEncPictureParameterBufferType     ? sizeof(picture)
                   : type == VAProcPipelineParameterBufferType ? sizeof(pipeline)
                                                               : sizeof(value);
    void *mapped;

    if (type == VAEncCodedBufferType) {
        read_coded(id);
    } else if (!from) {
        touch(id, size);
    } else if (!app.vtable.vaMapBuffer(&app.ctx, id, &mapped)) {
        memset(mapped, 0, size);
        memcpy(mapped, from, bytes < size ? bytes : size);
        app.vtable.vaUnmapBuffer(&app.ctx, id);
    }
}

static void create_buffer(uint8_t which, unsigned slot)
{
    static const struct {
        VABufferType type;
        unsigned size;
    } kinds[] = {
        {VAPictureParameterBufferType, sizeof(VAPictureParameterBufferH264)},
        {VAIQMatrixBufferType, sizeof(VAIQMatrixBufferH264)},
        {VASliceParameterBufferType, sizeof(VASliceParameterBufferH264)},
        {VASliceDataBufferType, 100},
        {VASliceDataBufferType, 9 << 20},
        {VAEncCodedBufferType, 100},
        {VAEncPictureParameterBufferType, sizeof(VAEncPictureParameterBufferH264)},
        {VAEncMiscParameterBufferType, 64},
        {VAProcPipelineParameterBufferType, sizeof(VAProcPipelineParameterBuffer)},
        {VAProcFilterParameterBufferType, sizeof(VAProcFilterParameterBufferBase)},
    };
    unsigned type, size, count;
    VABufferType *got = (VABufferType *)&type;

    which %= sizeof(kinds) / sizeof(kinds[0]);
    if (app.vtable.vaCreateBuffer(&app.ctx, app.context[slot % 2], kinds[which].type,
                                  kinds[which].size, 1, NULL, &app.buffer[slot]))
        return;
    if (!app.vtable.vaBufferInfo(&app.ctx, app.buffer[slot], got, &size, &count) &&
        kinds[which].size < 4096)
        fill(app.buffer[slot], kinds[which].type, slot, (size_t)size * count);
}

static void create_surfaces(uint8_t which, unsigned slot)
{
    static const unsigned sides[] = {16, 17, 64, 200, 1000, 16384, 0, 65535};
    static const int fourccs[] = {VA_FOURCC_I420, VA_FOURCC_NV12, VA_FOURCC_YV12, 0};
    VASurfaceAttrib attribute = {
        .type = VASurfaceAttribPixelFormat,
        .flags = VA_SURFACE_ATTRIB_SETTABLE,
        .value = {.type = VAGenericValueTypeInteger, .value = {.i = fourccs[which / 8 % 4]}}};
    unsigned count = 1 + slot % 3;

    if (slot + count > SLOTS)
        count = 1;
    app.vtable.vaCreateSurfaces2(&app.ctx, VA_RT_FORMAT_YUV420, sides[which % 8],
                                 sides[which / 2 % 8], &app.surface[slot], count, &attribute,
                                 which & 128 ? 0 : 1);
}

static void images(uint8_t op, unsigned slot)
{
    VASurfaceID surface = app.surface[fuzz_byte(&app.input) % SLOTS];
    VAImage *image = &app.image[slot];
    VAImageFormat format = {.fourcc = fuzz_byte(&app.input) % 2 ? VA_FOURCC_NV12 : VA_FOURCC_I420};
    unsigned x = fuzz_byte(&app.input) % 4, w = image->width, h = image->height;

    switch (op) {
    case 0:
        app.vtable.vaDeriveImage(&app.ctx, surface, image);
        break;
    case 1:
        app.vtable.vaCreateImage(&app.ctx, &format, fuzz_byte(&app.input), 64, image);
        break;
    case 2:
        app.vtable.vaGetImage(&app.ctx, surface, (int)x, (int)x / 2, w - x, h - x / 2,
                              image->image_id);
        break;
    case 3:
        app.vtable.vaPutImage(&app.ctx, surface, image->image_id, (int)x, (int)x, w - x, h - x, 0,
                              (int)x, w - x, h - x);
        break;
    case 4:
        touch(image->buf, image->data_size);
        break;
    default:
        app.vtable.vaDestroyImage(&app.ctx, image->image_id);
    }
}

/* As programs do: what they are told is theirs to close. */
static void export_surface(unsigned slot, uint32_t flags)
{
    VADRMPRIMESurfaceDescriptor d;

    if (app.vtable.vaExportSurfaceHandle(&app.ctx, app.surface[slot],
                                         VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2, flags, &d))
        return;
    for (uint32_t i = 0; i < d.num_objects; i++)
        close(d.objects[i].fd);
}

static void create_config(uint8_t which, unsigned slot)
{
    static const struct {
        VAProfile profile;
        VAEntrypoint entrypoint;
    } rows[] = {
        {VAProfileH264High, VAEntrypointVLD},
        {VAProfileH264High, VAEntrypointEncSlice},
        {VAProfileNone, VAEntrypointVideoProc},
    };

    which = which / 8 % COUNT(rows);
    app.vtable.vaCreateConfig(&app.ctx, rows[which].profile, rows[which].entrypoint, NULL, 0,
                              &app.config[slot]);
}

static void query_filters(unsigned slot)
{
    VAProcFilterType filters[VAProcFilterCount];
    VAProcFilterCapColorBalance balance[VAProcColorBalanceCount];
    VAProcPipelineCaps caps;
    unsigned n = slot;

    app.vpp.vaQueryVideoProcFilters(&app.ctx, app.context[slot % 2], filters, &n);
    n = slot;
    app.vpp.vaQueryVideoProcFilterCaps(&app.ctx, app.context[slot % 2], VAProcFilterColorBalance,
                                       balance, &n);
    app.vpp.vaQueryVideoProcPipelineCaps(&app.ctx, app.context[slot % 2], &app.buffer[slot], 1,
                                         &caps);
}

static void step(void)
{
    uint8_t op = fuzz_byte(&app.input), more = fuzz_byte(&app.input);
    unsigned slot = more % SLOTS;
    VABufferID buffers[4];
    VASurfaceStatus status;
    void *errors;

    switch (op % OPERATIONS) {
    case 0:
        create_config(more, slot);
        break;
    case 1:
        app.vtable.vaCreateContext(&app.ctx, app.config[more / 8 % 3], 16 << more % 6, 64, 0, NULL,
                                   0, &app.context[slot % 2]);
        break;
    case 2:
        create_surfaces(fuzz_byte(&app.input), slot);
        break;
    case 3:
        create_buffer(fuzz_byte(&app.input), slot);
        break;
    case 4:
        app.vtable.vaBeginPicture(&app.ctx, app.context[slot % 2], app.surface[slot]);
        break;
    case 5:
        for (int i = 0; i < 4; i++)
            buffers[i] = app.buffer[(slot + (unsigned)i) % SLOTS];
        app.vtable.vaRenderPicture(&app.ctx, app.context[slot % 2], buffers, more / 8 % 5);
        break;
    case 6:
        app.vtable.vaEndPicture(&app.ctx, app.context[slot % 2]);
        break;
    case 7:
        app.vtable.vaSyncSurface2(&app.ctx, app.surface[slot], more & 128 ? 0 : UINT64_MAX);
        break;
    case 8:
        app.vtable.vaQuerySurfaceStatus(&app.ctx, app.surface[slot], &status);
        break;
    case 9:
        app.vtable.vaQuerySurfaceError(&app.ctx, app.surface[slot], VA_STATUS_ERROR_DECODING_ERROR,
                                       &errors);
        break;
    case 10:
        app.vtable.vaDestroyContext(&app.ctx, app.context[slot % 2]);
        break;
    case 11:
        app.vtable.vaDestroySurfaces(&app.ctx, &app.surface[slot], 1);
        break;
    case 12:
        app.vtable.vaDestroyBuffer(&app.ctx, app.buffer[slot]);
        break;
    case 13:
        app.vtable.vaDestroyConfig(&app.ctx, app.config[slot]);
        break;
    case 14:
        export_surface(slot, more);
        break;
    case 15:
        read_coded(app.buffer[slot]);
        break;
    case 16:
        app.vtable.vaSyncBuffer(&app.ctx, app.buffer[slot], more & 128 ? 0 : UINT64_MAX);
        break;
    case 17:
        query_filters(slot);
        break;
    default:
        images(op % OPERATIONS - 18, slot);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int before = fuzz_descriptors();
    struct fuzz_input all = {data, size};
    uint8_t options = fuzz_byte(&all), split = fuzz_byte(&all);

    setenv("VIADUCT_HOST", "evil:", 1);
    memset(&evil, 0, sizeof(evil));
    memset(&app, 0, sizeof(app));
    evil.base.ops = &evil_ops;
    evil.fd = -1;
    evil.options = options;
    evil.input = (struct fuzz_input){all.data, all.size * split / 256};
    app.input = (struct fuzz_input){all.data + evil.input.size, all.size - evil.input.size};
    if (arena_create(&evil.arena, 4 << 20))
        abort();
    for (int i = 0; i < VD_MAX_SURFACES; i++)
        evil.arena.status->surfaces[i].backing = VD_NO_BACKING;
    for (int i = 0; i < SLOTS; i++)
        evil.arena.status->backings[i].offset = evil.arena.frame_offset + (uint64_t)i * (256 << 10);
    app.ctx.vtable = &app.vtable;
    app.ctx.vtable_vpp = &app.vpp;
    if (!__vaDriverInit_1_0(&app.ctx)) {
        for (int i = 0; i < APP_STEPS && app.input.size; i++)
            step();
        app.vtable.vaTerminate(&app.ctx);
    }
    if (evil.connected)
        abort();
    arena_finish(&evil.arena);
    if (fuzz_descriptors() != before) {
        fprintf(stderr, "descriptors left open\n");
        abort();
    }
    return 0;
}

/* Seeds: an app that decodes and looks, a host that says yes to all, with and without say. */
size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    static const uint8_t program[] = {
        0,  0, 1,  0,  2,  0,  8,                  /* config, context, surfaces */
        3,  0, 0,  3,  1,  1,  3,  2, 2,  3, 3, 3, /* buffers */
        4,  0, 5,  32, 6,  0,  7,  0, 8,  0, 9, 0, /* a picture */
        14, 0, 14, 4,                              /* export */
        18, 0, 0,  0,  0,  22, 0,  0, 0,  0,       /* derive, touch */
        19, 1, 0,  1,  0,  64, 20, 1, 0,  0, 0, 22, 1, 0,  0, 0, 21, 1, 0, 0, 0, /* image */
        4,  0, 5,  32, 6,  0,  7,  0, 23, 0, 0, 0,  0, 20, 1, 0, 0,  0,          /* again */
        12, 0, 11, 0,  10, 0,  7,  1, 18, 1, 1, 0,  0,
    };
    /* Encodes into buffer 1, which picture 0 names, and processes surface 0 into 1. */
    static const uint8_t work[] = {
        0,  0,  0, 9,  0, 18, 1,  8,  2,  0,  8, /* configs, an encoder, surfaces */
        3,  1,  5, 3,  0, 6,  3,  2,  7,         /* coded, picture, misc */
        4,  0,  5, 24, 6, 0,  15, 1,  16, 1,     /* a picture, and what came of it */
        1,  17, 3, 5,  9, 3,  4,  8,             /* processing: a filter, a pipeline */
        4,  1,  5, 12, 6, 1,  7,  1,  17, 1,  17, 4,  18, 0,  0, 0,  0,
        22, 0,  0, 0,  0, 12, 1,  15, 1,  10, 0,  16, 1,  11, 0, 10, 1,
    };
    struct fuzz_writer w = {buffer, 0, room};

    uint32_t value = index % 2 ? 0x80000000u : (uint32_t)index;
    int odd_call = index >= 4 ? (index - 4) / 2 : -1;

    if (index == 28 || index == 29) {
        /* Without say of the host, and with the status page in its hands. */
        fuzz_put_byte(&w, 0);
        fuzz_put_byte(&w, index == 29 ? 96 : 0);
        for (int i = 0; index == 29 && i < 60; i++)
            fuzz_put_byte(&w, 0);
        fuzz_put(&w, work, sizeof(work));
        return w.used;
    }
    if (index >= 30)
        return 0;
    fuzz_put_byte(&w, index & 2 && odd_call < 0 ? OPTION_HONEST_HELLO | OPTION_DEAD : 0);
    fuzz_put_byte(&w, index & 1 || odd_call >= 0 ? 128 : 0);
    /* Good replies and no writes to the status page, but for the status of one reply. */
    for (int i = 0; w.used > 1 && (index & 1 || odd_call >= 0) && w.used < sizeof(program) + 2;
         i++) {
        fuzz_put_byte(&w, i == odd_call ? REPLY_FIELDS : REPLY_GOOD);
        if (i == odd_call) {
            fuzz_put_byte(&w, 1);
            fuzz_put_word(&w, 0);
            fuzz_put(&w, &value, sizeof(value));
            if (!i)
                fuzz_put_byte(&w, 0); /* hello: no tail */
        }
        fuzz_put_byte(&w, 0);
    }
    while ((index & 1 || odd_call >= 0) && w.used < sizeof(program) + 2)
        fuzz_put_byte(&w, 0);
    fuzz_put(&w, program, sizeof(program));
    return w.used;
}
