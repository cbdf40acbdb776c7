/* SPDX-License-Identifier: MIT */
/*
 * Encodes AV1 through libva, as newer FFmpeg's av1_vaapi does: no installed program can.
 *
 * usage: av1enc cqp|cbr|vbr slice|lp WIDTH HEIGHT BITRATE IN.yuv OUT.ivf
 *
 * IN has I420 pictures, 25 a second; each fiftieth is a key frame.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va.h>
#include <va/va_drm.h>
#include <va/va_enc_av1.h>

#define FRAME_HZ 25
#define GROUP    50
#define QINDEX   60
#define INPUT    0
#define RECON    1 /* two in turn */
#define SURFACES 3

static struct {
    VADisplay display;
    VAContextID context;
    VASurfaceID surfaces[SURFACES];
    VABufferID coded;
    uint32_t width, height, mode, bitrate;
    VABufferID buffers[8];
    int count;
} a;

static void check(VAStatus status, const char *what)
{
    if (status == VA_STATUS_SUCCESS)
        return;
    fprintf(stderr, "av1enc: %s: %s\n", what, vaErrorStr(status));
    exit(1);
}

static void buffer(VABufferType type, const void *bytes, size_t size)
{
    check(vaCreateBuffer(a.display, a.context, type, (unsigned)size, 1, (void *)(uintptr_t)bytes,
                         &a.buffers[a.count]),
          "vaCreateBuffer");
    a.count++;
}

static void misc(VAEncMiscParameterType type, const void *bytes, size_t size)
{
    uint64_t room[32] = {0};
    VAEncMiscParameterBuffer *head = (void *)room;

    head->type = type;
    memcpy(head->data, bytes, size);
    buffer(VAEncMiscParameterBufferType, room, sizeof(*head) + size);
}

/* NV12 or whatever planes the surface has: written where the image says. */
static int upload(FILE *in)
{
    VAImage image;
    uint8_t *to;
    uint32_t cw = a.width / 2, ch = a.height / 2;
    uint8_t *u = malloc((size_t)cw * ch * 2), *v = u ? u + (size_t)cw * ch : NULL;
    int ok = u != NULL;

    check(vaDeriveImage(a.display, a.surfaces[INPUT], &image), "vaDeriveImage");
    check(vaMapBuffer(a.display, image.buf, (void **)&to), "vaMapBuffer");
    for (uint32_t y = 0; y < a.height && ok; y++)
        ok = fread(to + image.offsets[0] + (size_t)y * image.pitches[0], a.width, 1, in) == 1;
    ok = ok && fread(u, (size_t)cw * ch * 2, 1, in) == 1;
    for (uint32_t y = 0; y < ch && ok; y++) {
        uint8_t *row = to + image.offsets[1] + (size_t)y * image.pitches[1];

        for (uint32_t x = 0; x < cw; x++) {
            row[2 * (size_t)x] = u[(size_t)y * cw + x];
            row[2 * (size_t)x + 1] = v[(size_t)y * cw + x];
        }
    }
    free(u);
    vaUnmapBuffer(a.display, image.buf);
    vaDestroyImage(a.display, image.image_id);
    return ok;
}

static void parameters(uint32_t number)
{
    uint32_t slot = number % 2;
    int key = number % GROUP == 0;
    VAEncSequenceParameterBufferAV1 seq = {
        .seq_level_idx = 8, .intra_period = GROUP, .ip_period = 1, .bits_per_second = a.bitrate};
    VAEncPictureParameterBufferAV1 pic = {
        .frame_width_minus_1 = (uint16_t)(a.width - 1),
        .frame_height_minus_1 = (uint16_t)(a.height - 1),
        .reconstructed_frame = a.surfaces[RECON + slot],
        .coded_buf = a.coded,
        .order_hint = (uint8_t)(number % GROUP),
        .base_qindex = QINDEX,
        .min_base_qindex = 1,
        .max_base_qindex = 255,
        .refresh_frame_flags = (uint8_t)(key ? 0xff : 1 << slot),
        .primary_ref_frame = (uint8_t)(key ? 7 : 0),
    };
    VAEncTileGroupBufferAV1 tiles = {0};

    seq.seq_fields.bits.enable_order_hint = 1;
    seq.order_hint_bits_minus_1 = 7;
    pic.picture_flags.bits.frame_type = !key;
    pic.picture_flags.bits.error_resilient_mode = (unsigned)key;
    for (int i = 0; i < 8; i++)
        pic.reference_frames[i] = key ? VA_INVALID_SURFACE : a.surfaces[RECON + 1 - slot];
    for (int i = 0; i < 7; i++)
        pic.ref_frame_idx[i] = (uint8_t)(1 - slot);
    pic.ref_frame_ctrl_l0.fields.search_idx0 = key ? 0 : 1;
    if (key) {
        VAEncMiscParameterRateControl rate = {.bits_per_second = a.bitrate,
                                              .target_percentage = 100};
        VAEncMiscParameterFrameRate frames = {.framerate = FRAME_HZ};

        if (a.mode == VA_RC_VBR) {
            rate.bits_per_second = a.bitrate * 3 / 2;
            rate.target_percentage = 67;
        }
        buffer(VAEncSequenceParameterBufferType, &seq, sizeof(seq));
        if (a.mode != VA_RC_CQP)
            misc(VAEncMiscParameterTypeRateControl, &rate, sizeof(rate));
        misc(VAEncMiscParameterTypeFrameRate, &frames, sizeof(frames));
    }
    buffer(VAEncPictureParameterBufferType, &pic, sizeof(pic));
    buffer(VAEncSliceParameterBufferType, &tiles, sizeof(tiles));
}

static void put(FILE *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        fputc((int)(value >> (8 * i) & 0xff), out);
}

static void head(FILE *out, uint32_t frames)
{
    rewind(out);
    fputs("DKIF", out);
    put(out, 32u << 16, 4);
    fputs("AV01", out);
    put(out, a.width | (uint64_t)a.height << 16, 4);
    put(out, FRAME_HZ, 4);
    put(out, 1, 4);
    put(out, frames, 8);
}

static void picture(uint32_t number, FILE *out)
{
    VACodedBufferSegment *segment;

    a.count = 0;
    check(vaBeginPicture(a.display, a.context, a.surfaces[INPUT]), "vaBeginPicture");
    parameters(number);
    check(vaRenderPicture(a.display, a.context, a.buffers, a.count), "vaRenderPicture");
    check(vaEndPicture(a.display, a.context), "vaEndPicture");
    check(vaSyncSurface(a.display, a.surfaces[INPUT]), "vaSyncSurface");
    check(vaMapBuffer(a.display, a.coded, (void **)&segment), "vaMapBuffer");
    put(out, segment->size, 4);
    put(out, number, 8);
    fwrite(segment->buf, segment->size, 1, out);
    vaUnmapBuffer(a.display, a.coded);
    while (a.count)
        vaDestroyBuffer(a.display, a.buffers[--a.count]);
}

static void open_encoder(int fd, VAEntrypoint entrypoint)
{
    VAConfigAttrib attributes[] = {{VAConfigAttribRTFormat, VA_RT_FORMAT_YUV420},
                                   {VAConfigAttribRateControl, a.mode}};
    VAConfigID config;
    int major, minor;

    a.display = vaGetDisplayDRM(fd);
    check(vaInitialize(a.display, &major, &minor), "vaInitialize");
    check(vaCreateConfig(a.display, VAProfileAV1Profile0, entrypoint, attributes, 2, &config),
          "vaCreateConfig");
    check(vaCreateSurfaces(a.display, VA_RT_FORMAT_YUV420, a.width, a.height, a.surfaces, SURFACES,
                           NULL, 0),
          "vaCreateSurfaces");
    check(vaCreateContext(a.display, config, (int)a.width, (int)a.height, VA_PROGRESSIVE, NULL, 0,
                          &a.context),
          "vaCreateContext");
    check(vaCreateBuffer(a.display, a.context, VAEncCodedBufferType,
                         3 * a.width * a.height + (1 << 16), 1, NULL, &a.coded),
          "vaCreateBuffer");
}

int main(int argc, char **argv)
{
    int fd = open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC);
    FILE *in, *out;
    uint32_t number = 0;

    if (argc != 8)
        return 2;
    a.mode = !strcmp(argv[1], "cqp") ? VA_RC_CQP : !strcmp(argv[1], "cbr") ? VA_RC_CBR : VA_RC_VBR;
    a.width = (uint32_t)strtoul(argv[3], NULL, 10) & ~1u;
    a.height = (uint32_t)strtoul(argv[4], NULL, 10) & ~1u;
    a.bitrate = (uint32_t)strtoul(argv[5], NULL, 10);
    in = fopen(argv[6], "rb");
    out = fopen(argv[7], "wb");
    if (!in || !out)
        return 2;
    open_encoder(fd, strcmp(argv[2], "lp") ? VAEntrypointEncSlice : VAEntrypointEncSliceLP);
    head(out, 0);
    while (upload(in))
        picture(number++, out);
    head(out, number);
    fclose(out);
    fclose(in);
    check(vaTerminate(a.display), "vaTerminate");
    return number ? 0 : 1;
}
