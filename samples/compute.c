/* SPDX-License-Identifier: MIT */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vaapi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va.h>
#include <va/va_drmcommon.h>
#include <viaduct/viaduct.h>

#include "cuda.h"

/*
 * A video is decoded with VA-API, a CUDA kernel makes a negative of each picture where it was
 * decoded, and the result is encoded with VA-API: all of it on the host, no pixel comes to this
 * process. Stock libavcodec, CUDA's driver API, and one call of viaduct.h.
 *
 *     viaduct exec -- compute in.mp4 out.mp4
 *
 * Pictures are written to other surfaces than they are read from, as the decoder still refers to
 * its own.
 */

static const char kernel_text[] =
    ".version 7.0\n"
    ".target sm_70\n"
    ".address_size 64\n"
    "// out[i] = 255 - in[i], rows of bytes\n"
    ".visible .entry negative(.param .u64 out, .param .u64 in, .param .u32 out_pitch,\n"
    "                         .param .u32 in_pitch, .param .u32 width, .param .u32 height)\n"
    "{\n"
    "  .reg .pred %p<3>;\n"
    "  .reg .b32 %r<16>;\n"
    "  .reg .b64 %d<8>;\n"
    "  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;\n"
    "  mad.lo.u32 %r4, %r1, %r2, %r3;\n"
    "  mov.u32 %r5, %ctaid.y;\n"
    "  ld.param.u32 %r6, [width]; ld.param.u32 %r7, [height];\n"
    "  setp.ge.u32 %p1, %r4, %r6;\n"
    "  @%p1 ret;\n"
    "  setp.ge.u32 %p2, %r5, %r7;\n"
    "  @%p2 ret;\n"
    "  ld.param.u64 %d1, [in]; ld.param.u32 %r8, [in_pitch];\n"
    "  mul.wide.u32 %d2, %r5, %r8; add.u64 %d1, %d1, %d2;\n"
    "  cvt.u64.u32 %d3, %r4; add.u64 %d1, %d1, %d3;\n"
    "  ld.param.u64 %d4, [out]; ld.param.u32 %r9, [out_pitch];\n"
    "  mul.wide.u32 %d5, %r5, %r9; add.u64 %d4, %d4, %d5; add.u64 %d4, %d4, %d3;\n"
    "  ld.global.u8 %r10, [%d1];\n"
    "  xor.b32 %r10, %r10, 255;\n"
    "  st.global.u8 [%d4], %r10;\n"
    "  ret;\n"
    "}\n";

/* A surface as device memory. It stays so: decoders and encoders use the same ones again. */
struct place {
    VASurfaceID surface;
    struct viaduct_surface where;
    CUexternalMemory memory;
    CUdeviceptr address;
};

#define PLACES 64

struct compute {
    AVFormatContext *in, *out;
    AVCodecContext *decoder, *encoder;
    AVBufferRef *hardware;
    VADisplay display;
    int stream;
    CUdevice device;
    CUcontext context;
    CUfunction negative;
    struct place places[PLACES];
    int place_count;
    bool header;
    long pictures;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "compute: %s: %s\n", what, why);
    return -1;
}

static int av_fail(const char *what, int err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];

    return fail(what, av_make_error_string(text, sizeof(text), err));
}

static int cuda_check(const char *what, CUresult result)
{
    const char *text = NULL;

    if (!result)
        return 0;
    cuGetErrorString(result, &text);
    return fail(what, text ? text : "an unknown error");
}

static enum AVPixelFormat choose(AVCodecContext *codec, const enum AVPixelFormat *formats)
{
    (void)codec;
    for (; *formats != AV_PIX_FMT_NONE; formats++) {
        if (*formats == AV_PIX_FMT_VAAPI)
            return *formats;
    }
    return AV_PIX_FMT_NONE;
}

static int open_input(struct compute *c, const char *path)
{
    const AVCodec *codec = NULL;
    AVHWDeviceContext *device;
    int err = av_hwdevice_ctx_create(&c->hardware, AV_HWDEVICE_TYPE_VAAPI, NULL, NULL, 0);

    if (err)
        return av_fail("VA-API", err);
    device = (AVHWDeviceContext *)c->hardware->data;
    c->display = ((AVVAAPIDeviceContext *)device->hwctx)->display;
    err = avformat_open_input(&c->in, path, NULL, NULL);
    if (!err)
        err = avformat_find_stream_info(c->in, NULL);
    if (err < 0)
        return av_fail(path, err);
    c->stream = av_find_best_stream(c->in, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (c->stream < 0)
        return av_fail(path, c->stream);
    c->decoder = avcodec_alloc_context3(codec);
    if (!c->decoder)
        return av_fail(path, AVERROR(ENOMEM));
    avcodec_parameters_to_context(c->decoder, c->in->streams[c->stream]->codecpar);
    c->decoder->hw_device_ctx = av_buffer_ref(c->hardware);
    c->decoder->get_format = choose;
    err = avcodec_open2(c->decoder, codec, NULL);
    return err ? av_fail(path, err) : 0;
}

static int open_cuda(struct compute *c)
{
    CUmodule module;

    if (cuda_check("cuInit", cuInit(0)) || cuda_check("cuDeviceGet", cuDeviceGet(&c->device, 0)) ||
        cuda_check("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain(&c->context, c->device)) ||
        cuda_check("cuCtxSetCurrent", cuCtxSetCurrent(c->context)) ||
        cuda_check("cuModuleLoadData", cuModuleLoadData(&module, kernel_text)) ||
        cuda_check("cuModuleGetFunction", cuModuleGetFunction(&c->negative, module, "negative")))
        return -1;
    return 0;
}

/* Surfaces of the encoder's own, in the format of the decoder's. */
static int open_output(struct compute *c, const char *path, const AVFrame *first)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("h264_vaapi");
    AVRational rate = av_guess_frame_rate(c->in, c->in->streams[c->stream], NULL);
    AVBufferRef *frames = av_hwframe_ctx_alloc(c->hardware);
    AVHWFramesContext *pool;
    AVStream *stream;
    int err;

    if (!codec || !frames)
        return fail(path, "this libavcodec has no h264_vaapi");
    pool = (AVHWFramesContext *)frames->data;
    pool->format = AV_PIX_FMT_VAAPI;
    pool->sw_format = ((AVHWFramesContext *)first->hw_frames_ctx->data)->sw_format;
    pool->width = first->width;
    pool->height = first->height;
    pool->initial_pool_size = 8;
    err = av_hwframe_ctx_init(frames);
    if (err)
        return av_fail("surfaces", err);
    c->encoder = avcodec_alloc_context3(codec);
    c->encoder->width = first->width;
    c->encoder->height = first->height;
    c->encoder->pix_fmt = AV_PIX_FMT_VAAPI;
    c->encoder->time_base = c->in->streams[c->stream]->time_base;
    c->encoder->framerate = rate.num ? rate : (AVRational){25, 1};
    c->encoder->global_quality = 22;
    c->encoder->hw_frames_ctx = frames;
    c->encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    err = avcodec_open2(c->encoder, codec, NULL);
    if (err)
        return av_fail("h264_vaapi", err);
    err = avformat_alloc_output_context2(&c->out, NULL, NULL, path);
    if (err < 0)
        return av_fail(path, err);
    stream = avformat_new_stream(c->out, NULL);
    avcodec_parameters_from_context(stream->codecpar, c->encoder);
    stream->time_base = c->encoder->time_base;
    err = avio_open(&c->out->pb, path, AVIO_FLAG_WRITE);
    if (!err)
        err = avformat_write_header(c->out, NULL);
    if (err < 0)
        return av_fail(path, err);
    c->header = true;
    return 0;
}

/* The surface of a frame as device memory, once for each surface. */
static struct place *place_of(struct compute *c, const AVFrame *frame)
{
    VASurfaceID surface = (VASurfaceID)(uintptr_t)frame->data[3];
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC handle = {.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD};
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC buffer = {.offset = 0};
    struct place *p;
    VAStatus status;

    for (int i = 0; i < c->place_count; i++) {
        if (c->places[i].surface == surface)
            return &c->places[i];
    }
    if (c->place_count == PLACES) {
        fail("surfaces", "more than expected");
        return NULL;
    }
    p = &c->places[c->place_count];
    p->surface = surface;
    status = vaExportSurfaceHandle(c->display, surface, VIADUCT_SURFACE_MEMFD,
                                   VA_EXPORT_SURFACE_READ_WRITE, &p->where);
    if (status) {
        fail("the surface's memory", vaErrorStr(status));
        return NULL;
    }
    if (p->where.fourcc != VA_FOURCC_NV12 && p->where.fourcc != VA_FOURCC_I420) {
        fail("the video", "is not one of 8 bits, 4:2:0");
        close(p->where.fd);
        return NULL;
    }
    handle.handle.fd = p->where.fd;
    handle.size = p->where.offset + p->where.size;
    buffer.offset = p->where.offset;
    buffer.size = p->where.size;
    /* The descriptor is CUDA's from here. */
    if (cuda_check("cuImportExternalMemory", cuImportExternalMemory(&p->memory, &handle))) {
        close(p->where.fd);
        return NULL;
    }
    c->place_count++;
    if (cuda_check("cuExternalMemoryGetMappedBuffer",
                   cuExternalMemoryGetMappedBuffer(&p->address, p->memory, &buffer)))
        return NULL;
    return p;
}

static int run_plane(struct compute *c, const struct place *to, const struct place *from,
                     unsigned plane)
{
    unsigned chroma = plane > 0, wide = from->where.planes == 2;
    unsigned width = chroma ? (from->where.width + 1) / 2 * (wide ? 2 : 1) : from->where.width;
    unsigned height = chroma ? (from->where.height + 1) / 2 : from->where.height;
    CUdeviceptr out = to->address + to->where.plane_offset[plane];
    CUdeviceptr in = from->address + from->where.plane_offset[plane];
    unsigned out_pitch = to->where.pitch[plane], in_pitch = from->where.pitch[plane];
    void *parameters[] = {&out, &in, &out_pitch, &in_pitch, &width, &height};

    return cuda_check("cuLaunchKernel", cuLaunchKernel(c->negative, (width + 255) / 256, height, 1,
                                                       256, 1, 1, 0, NULL, parameters, NULL));
}

static int write_packets(struct compute *c)
{
    AVPacket *packet = av_packet_alloc();
    int err = packet ? 0 : AVERROR(ENOMEM);

    while (!err) {
        err = avcodec_receive_packet(c->encoder, packet);
        if (err)
            break;
        av_packet_rescale_ts(packet, c->encoder->time_base, c->out->streams[0]->time_base);
        err = av_interleaved_write_frame(c->out, packet);
    }
    av_packet_free(&packet);
    return err == AVERROR(EAGAIN) || err == AVERROR_EOF ? 0 : av_fail("encoding", err);
}

static int one_picture(struct compute *c, const char *path, const AVFrame *in)
{
    AVFrame *out = av_frame_alloc();
    const struct place *from, *to;
    int err = -1;

    if (!c->encoder && open_output(c, path, in))
        goto done;
    err = av_hwframe_get_buffer(c->encoder->hw_frames_ctx, out, 0);
    if (err) {
        av_fail("a surface", err);
        goto done;
    }
    err = -1;
    from = place_of(c, in);
    to = from ? place_of(c, out) : NULL;
    if (!to)
        goto done;
    if (from->where.planes != to->where.planes) {
        fail("surfaces", "decoder and encoder have different formats");
        goto done;
    }
    /* The decoder's work is done before the kernel's, the kernel's before the encoder's; and what
     * was encoded from this surface before is done, too. */
    if (vaSyncSurface(c->display, from->surface) || vaSyncSurface(c->display, to->surface)) {
        fail("vaSyncSurface", "the picture cannot be had");
        goto done;
    }
    for (unsigned i = 0; i < from->where.planes; i++) {
        if (run_plane(c, to, from, i))
            goto done;
    }
    if (cuda_check("cuCtxSynchronize", cuCtxSynchronize()))
        goto done;
    out->pts = in->best_effort_timestamp;
    err = avcodec_send_frame(c->encoder, out);
    if (err)
        av_fail("encoding", err);
    else
        err = write_packets(c);
    c->pictures += !err;
done:
    av_frame_free(&out);
    return err;
}

static int decoded(struct compute *c, const char *path)
{
    AVFrame *frame = av_frame_alloc();
    int err = 0;

    while (!err) {
        err = avcodec_receive_frame(c->decoder, frame);
        if (!err && frame->format != AV_PIX_FMT_VAAPI)
            err = fail("the video", "VA-API does not decode it");
        if (!err)
            err = one_picture(c, path, frame);
        else if (err == AVERROR(EAGAIN) || err == AVERROR_EOF) {
            err = 0;
            break;
        }
    }
    av_frame_free(&frame);
    return err;
}

static int work(struct compute *c, const char *path)
{
    AVPacket *packet = av_packet_alloc();
    int err = 0;

    while (!err && av_read_frame(c->in, packet) >= 0) {
        if (packet->stream_index == c->stream) {
            avcodec_send_packet(c->decoder, packet);
            err = decoded(c, path);
        }
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    if (!err) {
        avcodec_send_packet(c->decoder, NULL);
        err = decoded(c, path);
    }
    if (!err && c->encoder) {
        avcodec_send_frame(c->encoder, NULL);
        err = write_packets(c);
    }
    if (!err && c->header)
        err = av_write_trailer(c->out);
    return err;
}

int main(int argc, char **argv)
{
    struct compute c = {.stream = -1};
    int err;

    if (argc != 3) {
        fprintf(stderr, "usage: compute VIDEO OUT\n");
        return 2;
    }
    err = open_input(&c, argv[1]);
    if (!err)
        err = open_cuda(&c);
    if (!err)
        err = work(&c, argv[2]);
    printf("compute: %ld pictures on %d surfaces\n", c.pictures, c.place_count);
    for (int i = 0; i < c.place_count; i++) {
        if (c.places[i].address)
            cuMemFree_v2(c.places[i].address);
        cuDestroyExternalMemory(c.places[i].memory);
    }
    if (c.context)
        cuDevicePrimaryCtxRelease_v2(c.device);
    if (c.out)
        avio_closep(&c.out->pb);
    avformat_free_context(c.out);
    avcodec_free_context(&c.encoder);
    avcodec_free_context(&c.decoder);
    avformat_close_input(&c.in);
    av_buffer_unref(&c.hardware);
    return err ? 1 : 0;
}
