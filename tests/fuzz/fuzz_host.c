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
#include "config.h"
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
    OPTION_WORK = 4,    /* engines that encode and process */
    OPTION_IN_BAND = 8, /* a channel that shares no memory */
    KIND_FIX = 0x10,
    KIND_WITH_FD = 0x20,
    KIND_UPLOAD = 0x40,
    KIND_RAW = 0x80,
    KIND_PAUSE = 0xc0,
};

#define MAX_RECORD   8192
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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

/* Nobody waits in it. */
static void script_shut(struct channel *channel)
{
    (void)channel;
}

static const struct channel_ops script_ops = {
    .scheme = "script",
    .shares_memory = true,
    .send = script_send,
    .recv = script_recv,
    .alive = script_alive,
    .shut = script_shut,
    .destroy = script_destroy,
};

static const struct channel_ops script_in_band_ops = {
    .scheme = "script",
    .send = script_send,
    .recv = script_recv,
    .alive = script_alive,
    .shut = script_shut,
    .destroy = script_destroy,
};

/*
 * Encodes nothing, so that sizes cost nothing, but looks at all there is: the reading of requests
 * before it is the real one.
 */
static uint32_t looker_caps(struct vd_cap *ret_caps, uint32_t room)
{
    static const struct {
        int profile, entrypoint;
    } rows[] = {
        {VAProfileH264High, VAEntrypointEncSlice},
        {VAProfileHEVCMain, VAEntrypointEncSlice},
        {VAProfileVP8Version0_3, VAEntrypointEncSlice},
        {VAProfileVP9Profile0, VAEntrypointEncSlice},
        {VAProfileAV1Profile0, VAEntrypointEncSlice},
        {VAProfileMPEG2Main, VAEntrypointEncSlice},
        {VAProfileJPEGBaseline, VAEntrypointEncPicture},
        {VAProfileNone, VAEntrypointVideoProc},
    };
    uint32_t n = 0;

    for (; n < COUNT(rows) && n < room; n++) {
        ret_caps[n] = (struct vd_cap){
            .profile = (uint32_t)rows[n].profile,
            .entrypoint = (uint32_t)rows[n].entrypoint,
            .rt_formats = VA_RT_FORMAT_YUV420,
            .min_width = 1,
            .min_height = 1,
            .max_width = VD_MAX_WIDTH,
            .max_height = VD_MAX_HEIGHT,
            .format_count = 2,
            .formats = {VA_FOURCC_NV12, VA_FOURCC_I420},
            .attribute_count = 2,
            .attributes = {VAConfigAttribRateControl, VAConfigAttribEncPackedHeaders},
            .values = {VA_RC_CQP | VA_RC_CBR | VA_RC_VBR | VA_RC_ICQ | VA_RC_QVBR, 0x1f},
        };
    }
    return n;
}

static int looker_create(const struct backend_context_info *info, void **ret_context,
                         struct backend_context_traits *ret_traits)
{
    struct backend_context_info *copy = malloc(sizeof(*copy));

    if (!copy)
        return VD_ERR_MEMORY;
    *copy = *info;
    *ret_context = copy;
    *ret_traits = (struct backend_context_traits){VD_CONTEXT_KICK, 4};
    return 0;
}

static volatile unsigned looked_at;

static void look(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 64)
        looked_at += ((const uint8_t *)bytes)[i];
    if (size)
        looked_at += ((const uint8_t *)bytes)[size - 1];
}

static int look_at(const struct backend_work *work)
{
    const struct encode_request *request = work->request;
    int err = 0;

    for (uint32_t i = 0; i < work->read_count && !err; i++) {
        struct pixels pixels;

        err = surface_read_pixels(&work->reads[i], &pixels);
        if (!err)
            look(pixels.bytes, pixels.layout->size);
    }
    for (uint32_t i = 0; i < work->pipeline_count; i++) {
        const struct vd_proc_pipeline *p = work->pipelines[i];

        look(p, sizeof(*p) + p->filter_count * sizeof(struct vd_proc_filter));
    }
    for (uint32_t i = 0; request && i < request->header_count; i++)
        look(request->headers[i].bytes, (request->headers[i].bits + 7) / 8);
    /* All of the guest's buffer may be written. */
    if (!err && work->coded)
        memset(work->coded, 0x5a, work->coded_room);
    return err;
}

static void looker_submit(void *context, struct backend_job *job)
{
    const struct backend_context_info *info = context;

    job->status = job->refused ? job->refused : look_at(job->work);
    if (!job->status && info->codec == VD_CODEC_PROC)
        job->status = pool_get(job->surface, &job->backing);
    info->done(info->done_arg, job);
}

static void looker_flush(void *context, uint64_t number)
{
    (void)context, (void)number;
}

static void looker_destroy(void *context)
{
    free(context);
}

static const struct backend backend_looker = {
    .name = "looker",
    .caps = looker_caps,
    .encode_codec = encode_codec_find,
    .context_create = looker_create,
    .submit = looker_submit,
    .flush = looker_flush,
    .context_destroy = looker_destroy,
};

static const struct backend_set *engines(uint8_t option, const struct backend_options *options)
{
    static struct backend_set software,
        null = {.at = {{.backend = &backend_null}}, .count = 1, .name = "null"},
        work = {.at = {{.backend = &backend_null}, {.backend = &backend_looker}},
                .count = 2,
                .name = "null+looker"};

    if (!software.count && engine_select("avcodec:software", options, &software))
        software = null;
#if HAVE_FILTER
    /* Real processing before the one that only looks. */
    if (option & OPTION_WORK && option & OPTION_AVCODEC) {
        static struct backend_set filter = {
            .at = {{.backend = &backend_null}, {.backend = &backend_filter}},
            .count = 2,
            .name = "null+filter"};

        return &filter;
    }
#endif
    return option & OPTION_WORK ? &work : option & OPTION_AVCODEC ? &software : &null;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct session_limits limits = {.contexts = 3, .surfaces = 24, .bytes = 4 << 20};
    static struct script s;
    struct backend_options options = {.threads = 1};
    struct stats_counters stats = {0};
    int before = fuzz_descriptors();
    uint8_t option;

    memset(&s, 0, sizeof(s));
    s.input = (struct fuzz_input){data, size};
    s.arena.fd = s.fd = -1;
    option = fuzz_byte(&s.input);
    s.base.ops = option & OPTION_IN_BAND ? &script_in_band_ops : &script_ops;
    if (option & OPTION_THREADS)
        options.threads = 3;
    session_serve(&s.base, engines(option, &options), &options, &limits, &stats, NULL, NULL);
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

/* Each codec's parameters are zeros: what they may be is for mutations to find. */
static const struct work_kind {
    int profile, entrypoint;
    uint32_t sequence, picture, slice;
} work_kinds[] = {
    {VAProfileH264High, VAEntrypointEncSlice, sizeof(VAEncSequenceParameterBufferH264),
     sizeof(VAEncPictureParameterBufferH264), sizeof(VAEncSliceParameterBufferH264)},
    {VAProfileHEVCMain, VAEntrypointEncSlice, sizeof(VAEncSequenceParameterBufferHEVC),
     sizeof(VAEncPictureParameterBufferHEVC), sizeof(VAEncSliceParameterBufferHEVC)},
    {VAProfileVP8Version0_3, VAEntrypointEncSlice, sizeof(VAEncSequenceParameterBufferVP8),
     sizeof(VAEncPictureParameterBufferVP8), 0},
    {VAProfileVP9Profile0, VAEntrypointEncSlice, sizeof(VAEncSequenceParameterBufferVP9),
     sizeof(VAEncPictureParameterBufferVP9), 0},
    {VAProfileMPEG2Main, VAEntrypointEncSlice, sizeof(VAEncSequenceParameterBufferMPEG2),
     sizeof(VAEncPictureParameterBufferMPEG2), sizeof(VAEncSliceParameterBufferMPEG2)},
    {VAProfileJPEGBaseline, VAEntrypointEncPicture, 0, sizeof(VAEncPictureParameterBufferJPEG),
     sizeof(VAEncSliceParameterBufferJPEG)},
    {VAProfileNone, VAEntrypointVideoProc, 0, 0, 0},
};
#define WORK_SEEDS (2 * (int)COUNT(work_kinds))
#define WORK       0x20000002u

static uint32_t put_encode(struct fuzz_writer *w, const struct work_kind *kind,
                           struct vd_buffer_ref *refs)
{
    static const uint8_t zeros[4096];
    static const uint32_t rate[] = {VAEncMiscParameterTypeRateControl, 500000, 100, 1000, 26, 0};
    static const uint8_t header[] = {0, 0, 0, 1, 0x67, 100, 0, 31, 0xac};
    VAEncPackedHeaderParameterBuffer param = {.type = VAEncPackedHeaderSequence,
                                              .bit_length = 8 * sizeof(header)};
    uint32_t at = 0, n = 0;

    refs[n++] = put_buffer(w, &at, VAEncCodedBufferType, zeros, VD_CODED_HEAD + 256);
    if (kind->sequence)
        refs[n++] = put_buffer(w, &at, VAEncSequenceParameterBufferType, zeros, kind->sequence);
    refs[n++] = put_buffer(w, &at, VAEncPictureParameterBufferType, zeros, kind->picture);
    refs[n++] = put_buffer(w, &at, VAEncMiscParameterBufferType, rate, sizeof(rate));
    refs[n++] = put_buffer(w, &at, VAEncPackedHeaderParameterBufferType, &param, sizeof(param));
    refs[n++] = put_buffer(w, &at, VAEncPackedHeaderDataBufferType, header, sizeof(header));
    if (kind->slice)
        refs[n++] = put_buffer(w, &at, VAEncSliceParameterBufferType, zeros, kind->slice);
    return n;
}

static uint32_t put_process(struct fuzz_writer *w, struct vd_buffer_ref *refs)
{
    struct {
        struct vd_proc_pipeline p;
        struct vd_proc_filter filters[2];
    } one = {
        .p = {.surface = SURFACE,
              .flags = VD_PROC_SOURCE | VD_PROC_DEST,
              .source = {2, 2, 8, 8},
              .dest = {0, 0, 16, 16},
              .forward_count = 1,
              .forward = {SURFACE + 1},
              .filter_count = 2},
        .filters = {{.type = VAProcFilterDeinterlacing, .algorithm = VAProcDeinterlacingBob},
                    {.type = VAProcFilterColorBalance, .algorithm = VAProcColorBalanceHue}},
    };
    uint32_t at = 0;

    refs[0] = put_buffer(w, &at, VAProcPipelineParameterBufferType, &one, sizeof(one));
    one.p.filter_count = 0;
    one.p.surface = SURFACE + 1;
    refs[1] = put_buffer(w, &at, VAProcPipelineParameterBufferType, &one.p, sizeof(one.p));
    return 2;
}

/* Decodes one picture, and encodes or processes it, with and without waiting. */
static size_t work_seed(int index, struct fuzz_writer *w)
{
    const struct work_kind *kind = &work_kinds[index / 2];
    bool proc = kind->entrypoint == VAEntrypointVideoProc;
    struct vd_context_create_req context = {WORK,
                                            (uint32_t)kind->profile,
                                            (uint32_t)kind->entrypoint,
                                            VA_RT_FORMAT_YUV420,
                                            16,
                                            16,
                                            proc ? 0 : VA_RC_CQP,
                                            proc ? 0 : 1};
    struct vd_context_destroy_req gone = {WORK, 0};
    struct vd_kick_req kick = {WORK, 2};
    struct vd_buffer_ref refs[8];
    struct picture p;

    fuzz_put_byte(w, (uint8_t)(OPTION_WORK | (proc && index % 2 ? OPTION_AVCODEC : 0) |
                               (index % 4 / 2 ? OPTION_IN_BAND : 0)));
    put_start(w, VA_FOURCC_NV12);
    put_message(w, VD_OP_context_create, KIND_FIX, &context, NULL, 0);
    picture_idr(&p, SURFACE);
    put_picture(w, &p, SURFACE, 1, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct vd_submit_req req = {.context = WORK,
                                    .surface = proc ? SURFACE + 2 : SURFACE,
                                    .sequence = proc ? i + 1 : i + 2};
        uint32_t count = proc ? put_process(w, refs) : put_encode(w, kind, refs);

        put_message(w, VD_OP_submit, KIND_FIX, &req, refs, (uint8_t)count);
    }
    if (index % 2) {
        put_message(w, VD_OP_kick, KIND_FIX, &kick, NULL, 0);
        fuzz_put_byte(w, KIND_PAUSE);
    }
    put_message(w, VD_OP_context_destroy, KIND_FIX, &gone, NULL, 0);
    put_end(w);
    return w->used;
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};
    struct vd_surface_back_req back = {SURFACE + 3, 0};
    struct vd_surface_import_req import = {
        SURFACE + 2, 3, 16384, {64, 64, 64, 0}, {0, 4096, 8192, 0}};
    struct vd_surface_export_req export = {SURFACE, VD_EXPORT_READ, 0, 0};
    struct picture p;

    if (index >= 8 && index < 8 + WORK_SEEDS)
        return work_seed(index - 8, &w);
    if (index >= 8)
        return 0;
    /* Back end, threads and format by the bits of the index. */
    fuzz_put_byte(&w, (uint8_t)((index & 3) | (index & 1 ? OPTION_IN_BAND : 0)));
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
    if (index & 1) {
        struct vd_surface_write_req write = {SURFACE + 3, 8};
        struct vd_arena_write_req zone = {upload_begin};
        struct vd_word words[4] = {{1}, {2}, {3}, {4}};

        put_message(&w, VD_OP_surface_write, KIND_FIX, &write, words, 4);
        put_message(&w, VD_OP_arena_write, KIND_FIX, &zone, words, 4);
    }
    put_message(&w, VD_OP_surface_export, KIND_FIX, &export, NULL, 0);
    put_end(&w);
    return w.used;
}
