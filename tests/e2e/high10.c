/* SPDX-License-Identifier: MIT */
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavformat/avformat.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va.h>
#include <va/va_drm.h>
#include <viaduct/va_newer.h>

#include "bitstream/bits.h"

/*
 * usage: high10 FILE
 *
 * H.264 High 10 through VA-API, which no program of Debian 12 does: their libva is too old for the
 * profile's name. Each picture goes to the driver with what its parameter sets say, and is compared
 * with that of libavcodec in software, sample by sample. Frames only, no field pictures; references
 * are left to the host, whose decoder keeps its own.
 */

#define NODE     "/dev/dri/renderD128"
#define SURFACES 8
#define PICTURES 100 /* of a file; the rest is not looked at */
#define SLICES   64
#define NALS     256

enum { NAL_SLICE = 1, NAL_IDR = 5, NAL_SPS = 7, NAL_PPS = 8 };

struct lists {
    uint8_t four[6][16], eight[2][64];
};

struct pps {
    VAPictureParameterBufferH264 param; /* with the sequence's */
    struct lists lists;
    unsigned default_l0, default_l1;
};

static struct lists sps_lists;
static bool sps_has_lists;
static VAPictureParameterBufferH264 sps;
static struct pps pps[256];

/* Tables 7-3 and 7-4, and the scans of 8.5.6 and 8.5.7. */
static const uint8_t default4[2][16] = {
    {6, 13, 13, 20, 20, 20, 28, 28, 28, 28, 32, 32, 32, 37, 37, 42},
    {10, 14, 14, 20, 20, 20, 24, 24, 24, 24, 27, 27, 27, 30, 30, 34}};
static const uint8_t default8[2][64] = {
    {6,  10, 10, 13, 11, 13, 16, 16, 16, 16, 18, 18, 18, 18, 18, 23, 23, 23, 23, 23, 23, 25,
     25, 25, 25, 25, 25, 25, 27, 27, 27, 27, 27, 27, 27, 27, 29, 29, 29, 29, 29, 29, 29, 31,
     31, 31, 31, 31, 31, 33, 33, 33, 33, 33, 36, 36, 36, 36, 38, 38, 38, 40, 40, 42},
    {9,  13, 13, 15, 13, 15, 17, 17, 17, 17, 19, 19, 19, 19, 19, 21, 21, 21, 21, 21, 21, 22,
     22, 22, 22, 22, 22, 22, 24, 24, 24, 24, 24, 24, 24, 24, 25, 25, 25, 25, 25, 25, 25, 27,
     27, 27, 27, 27, 27, 28, 28, 28, 28, 28, 30, 30, 30, 30, 32, 32, 32, 33, 33, 35}};
static const uint8_t zigzag4[16] = {0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "high10: %s\n", what);
    exit(1);
}

static void must(VAStatus status, const char *what)
{
    if (status) {
        fprintf(stderr, "high10: %s: %s\n", what, vaErrorStr(status));
        exit(1);
    }
}

/* Raster position of the i-th entry of an 8x8 list. */
static unsigned zigzag8(unsigned i)
{
    unsigned x = 0, y = 0;

    while (i--) {
        bool up = (x + y) % 2 == 0;

        if (up ? x == 7 : y == 7)
            up ? y++ : x++;
        else if (up ? !y : !x)
            up ? x++ : y++;
        else
            x += up ? 1u : -1u, y += up ? -1u : 1u;
    }
    return y * 8 + x;
}

/* 7.3.2.1.1.1, into scan order; without a list of its own `fall_back`. */
static void read_list(struct bits_reader *r, uint8_t *list, unsigned size, const uint8_t *standard,
                      const uint8_t *fall_back)
{
    unsigned last = 8, next = 8;

    if (!bits_read(r, 1)) {
        memmove(list, fall_back, size);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        if (next)
            next = (last + (unsigned)bits_read_se(r)) & 255;
        if (!i && !next) {
            memcpy(list, standard, size);
            return;
        }
        list[i] = (uint8_t)(next ? next : last);
        last = list[i];
    }
}

/* Rules A and B of table 7-2: `base` NULL or the sequence's. */
static void read_lists(struct bits_reader *r, struct lists *l, const struct lists *base, int eights)
{
    struct lists from;

    memset(&from, 16, sizeof(from));
    for (unsigned i = 0; i < 6; i++)
        memcpy(from.four[i], base ? base->four[i] : default4[i / 3], 16);
    for (unsigned i = 0; i < 2; i++)
        memcpy(from.eight[i], base ? base->eight[i] : default8[i], 64);
    for (unsigned i = 0; i < 6; i++)
        read_list(r, l->four[i], 16, default4[i / 3], i % 3 ? l->four[i - 1] : from.four[i]);
    for (int i = 0; i < 2; i++) {
        if (eights)
            read_list(r, l->eight[i], 64, default8[i], from.eight[i]);
        else
            memcpy(l->eight[i], from.eight[i], 64);
    }
}

static void read_sps(const uint8_t *data, size_t size)
{
    struct bits_reader r;

    memset(&sps, 0, sizeof(sps));
    memset(&sps_lists, 16, sizeof(sps_lists));
    bits_read_init(&r, data, size, true);
    bits_read(&r, 8);
    if (bits_read(&r, 8) != 110)
        die("no High 10 stream");
    bits_read(&r, 16);
    bits_read_ue(&r);
    sps.seq_fields.bits.chroma_format_idc = bits_read_ue(&r);
    sps.bit_depth_luma_minus8 = (uint8_t)bits_read_ue(&r);
    sps.bit_depth_chroma_minus8 = (uint8_t)bits_read_ue(&r);
    bits_read(&r, 1);
    sps_has_lists = bits_read(&r, 1);
    if (sps_has_lists)
        read_lists(&r, &sps_lists, NULL, true);
    sps.seq_fields.bits.log2_max_frame_num_minus4 = bits_read_ue(&r);
    sps.seq_fields.bits.pic_order_cnt_type = bits_read_ue(&r);
    if (sps.seq_fields.bits.pic_order_cnt_type == 1)
        die("picture order count type 1 is not for this test");
    if (!sps.seq_fields.bits.pic_order_cnt_type)
        sps.seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 = bits_read_ue(&r);
    sps.num_ref_frames = (uint8_t)bits_read_ue(&r);
    sps.seq_fields.bits.gaps_in_frame_num_value_allowed_flag = bits_read(&r, 1);
    sps.picture_width_in_mbs_minus1 = (uint16_t)bits_read_ue(&r);
    sps.picture_height_in_mbs_minus1 = (uint16_t)bits_read_ue(&r);
    sps.seq_fields.bits.frame_mbs_only_flag = bits_read(&r, 1);
    if (!sps.seq_fields.bits.frame_mbs_only_flag) {
        sps.picture_height_in_mbs_minus1 =
            (uint16_t)(2 * (sps.picture_height_in_mbs_minus1 + 1) - 1);
        sps.seq_fields.bits.mb_adaptive_frame_field_flag = bits_read(&r, 1);
    }
    sps.seq_fields.bits.direct_8x8_inference_flag = bits_read(&r, 1);
    if (r.error)
        die("a broken sequence parameter set");
}

static void read_pps(const uint8_t *data, size_t size)
{
    struct bits_reader r;
    struct pps *p;
    uint64_t bits = 0;
    size_t end = size;

    /* rbsp_trailing_bits: more data is what lies in front of the last one. */
    while (end && !data[end - 1])
        end--;
    if (!end)
        die("a broken picture parameter set");
    for (size_t i = 0; i < end; i++)
        bits += i >= 2 && data[i] == 3 && !data[i - 1] && !data[i - 2] ? 0 : 8;
    bits -= (unsigned)__builtin_ctz(data[end - 1]) + 1;
    bits_read_init(&r, data, size, true);
    bits_read(&r, 8);
    p = &pps[bits_read_ue(&r) & 255];
    memset(p, 0, sizeof(*p));
    p->param = sps;
    p->lists = sps_lists;
    bits_read_ue(&r);
    p->param.pic_fields.bits.entropy_coding_mode_flag = bits_read(&r, 1);
    p->param.pic_fields.bits.pic_order_present_flag = bits_read(&r, 1);
    if (bits_read_ue(&r))
        die("slice groups are not for VA-API");
    p->default_l0 = bits_read_ue(&r);
    p->default_l1 = bits_read_ue(&r);
    p->param.pic_fields.bits.weighted_pred_flag = bits_read(&r, 1);
    p->param.pic_fields.bits.weighted_bipred_idc = bits_read(&r, 2);
    p->param.pic_init_qp_minus26 = (int8_t)bits_read_se(&r);
    p->param.pic_init_qs_minus26 = (int8_t)bits_read_se(&r);
    p->param.chroma_qp_index_offset = (int8_t)bits_read_se(&r);
    p->param.second_chroma_qp_index_offset = p->param.chroma_qp_index_offset;
    p->param.pic_fields.bits.deblocking_filter_control_present_flag = bits_read(&r, 1);
    p->param.pic_fields.bits.constrained_intra_pred_flag = bits_read(&r, 1);
    p->param.pic_fields.bits.redundant_pic_cnt_present_flag = bits_read(&r, 1);
    if (r.position < bits) {
        p->param.pic_fields.bits.transform_8x8_mode_flag = bits_read(&r, 1);
        if (bits_read(&r, 1))
            read_lists(&r, &p->lists, sps_has_lists ? &sps_lists : NULL,
                       p->param.pic_fields.bits.transform_8x8_mode_flag);
        p->param.second_chroma_qp_index_offset = (int8_t)bits_read_se(&r);
    }
    if (r.error)
        die("a broken picture parameter set");
}

/* NAL units between start codes. */
static unsigned split(const uint8_t *data, size_t size, const uint8_t **nal, size_t *length)
{
    unsigned count = 0;

    for (size_t i = 0; i + 3 < size && count < NALS; i++) {
        if (data[i] || data[i + 1] || data[i + 2] != 1)
            continue;
        if (count)
            length[count - 1] = (size_t)(data + i - nal[count - 1]);
        nal[count++] = data + i + 3;
        i += 2;
    }
    if (count)
        length[count - 1] = (size_t)(data + size - nal[count - 1]);
    return count;
}

static VADisplay display;
static VAContextID context;
static VASurfaceID surfaces[SURFACES];
static AVFrame *expected[PICTURES];

static VABufferID buffer(VABufferType type, const void *bytes, size_t size)
{
    VABufferID id;

    must(vaCreateBuffer(display, context, type, (unsigned)size, 1, (void *)(uintptr_t)bytes, &id),
         "buffer");
    return id;
}

static void open_display(void)
{
    int major, minor, fd = open(NODE, O_RDWR | O_CLOEXEC);

    display = fd < 0 ? NULL : vaGetDisplayDRM(fd);
    if (!display)
        die("no display");
    must(vaInitialize(display, &major, &minor), "display");
}

static void open_context(int width, int height)
{
    VASurfaceAttrib format = {.type = VASurfaceAttribPixelFormat,
                              .flags = VA_SURFACE_ATTRIB_SETTABLE,
                              .value = {VAGenericValueTypeInteger, {.i = VA_FOURCC_P010}}};
    VAConfigAttrib rt = {VAConfigAttribRTFormat, VA_RT_FORMAT_YUV420_10};
    VAConfigID config;

    must(vaCreateConfig(display, VAProfileH264High10, VAEntrypointVLD, &rt, 1, &config), "config");
    must(vaCreateSurfaces(display, VA_RT_FORMAT_YUV420_10, (unsigned)width, (unsigned)height,
                          surfaces, SURFACES, &format, 1),
         "surfaces");
    must(vaCreateContext(display, config, width, height, VA_PROGRESSIVE, surfaces, SURFACES,
                         &context),
         "context");
}

/* One access unit; false if it has no picture. The first one tells what surfaces must be like. */
static bool submit(const AVPacket *packet, unsigned surface)
{
    static const uint8_t *nal[NALS];
    static size_t length[NALS];
    unsigned count = split(packet->data, (size_t)packet->size, nal, length), slices = 0;
    VABufferID ids[2 + 2 * SLICES];
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++) {
        unsigned type = nal[i][0] & 31;
        VASliceParameterBufferH264 slice = {.slice_data_size = (uint32_t)length[i]};
        struct bits_reader r;
        const struct pps *p;

        if (type == NAL_SPS)
            read_sps(nal[i], length[i]);
        if (type == NAL_PPS)
            read_pps(nal[i], length[i]);
        if ((type != NAL_SLICE && type != NAL_IDR) || slices == SLICES)
            continue;
        if (!context)
            open_context((sps.picture_width_in_mbs_minus1 + 1) * 16,
                         (sps.picture_height_in_mbs_minus1 + 1) * 16);
        bits_read_init(&r, nal[i], length[i], true);
        bits_read(&r, 8);
        slice.first_mb_in_slice = (uint16_t)bits_read_ue(&r);
        slice.slice_type = (uint8_t)bits_read_ue(&r);
        p = &pps[bits_read_ue(&r) & 255];
        slice.num_ref_idx_l0_active_minus1 = (uint8_t)p->default_l0;
        slice.num_ref_idx_l1_active_minus1 = (uint8_t)p->default_l1;
        if (!slices++) {
            VAPictureParameterBufferH264 param = p->param;
            VAIQMatrixBufferH264 matrix;

            param.CurrPic.picture_id = surfaces[surface];
            for (unsigned j = 0; j < 16; j++)
                param.ReferenceFrames[j] =
                    (VAPictureH264){.picture_id = VA_INVALID_ID, .flags = VA_PICTURE_H264_INVALID};
            param.frame_num =
                (uint16_t)bits_read(&r, sps.seq_fields.bits.log2_max_frame_num_minus4 + 4);
            if (!sps.seq_fields.bits.frame_mbs_only_flag && bits_read(&r, 1))
                die("field pictures are not for this test");
            param.pic_fields.bits.reference_pic_flag = (nal[i][0] & 0x60) != 0;
            for (unsigned j = 0; j < 6 * 16; j++)
                matrix.ScalingList4x4[j / 16][zigzag4[j % 16]] = p->lists.four[j / 16][j % 16];
            for (unsigned j = 0; j < 2 * 64; j++)
                matrix.ScalingList8x8[j / 64][zigzag8(j % 64)] = p->lists.eight[j / 64][j % 64];
            ids[n++] = buffer(VAPictureParameterBufferType, &param, sizeof(param));
            ids[n++] = buffer(VAIQMatrixBufferType, &matrix, sizeof(matrix));
        }
        ids[n++] = buffer(VASliceParameterBufferType, &slice, sizeof(slice));
        ids[n++] = buffer(VASliceDataBufferType, nal[i], length[i]);
    }
    if (!slices)
        return false;
    must(vaBeginPicture(display, context, surfaces[surface]), "begin");
    must(vaRenderPicture(display, context, ids, (int)n), "render");
    must(vaEndPicture(display, context), "end");
    while (n)
        vaDestroyBuffer(display, ids[--n]);
    return true;
}

/* P010 has samples in the upper bits, libavcodec in the lower ones. */
static void compare(unsigned number)
{
    const AVFrame *want = expected[number];
    const uint8_t *bytes;
    VAImage image;

    must(vaSyncSurface(display, surfaces[number % SURFACES]), "sync");
    if (!want)
        die("libavcodec has no such picture");
    must(vaDeriveImage(display, surfaces[number % SURFACES], &image), "image");
    must(vaMapBuffer(display, image.buf, (void **)&bytes), "map");
    for (int plane = 0; plane < 3; plane++) {
        int width = plane ? (want->width + 1) / 2 : want->width;
        int height = plane ? (want->height + 1) / 2 : want->height;

        for (int y = 0; y < height; y++) {
            const uint8_t *row = bytes + image.offsets[plane > 0] +
                                 (size_t)y * image.pitches[plane > 0] + (plane == 2 ? 2 : 0);

            for (int x = 0; x < width; x++) {
                uint16_t have, sample;

                memcpy(&have, row + (size_t)x * (plane ? 4 : 2), 2);
                memcpy(&sample, want->data[plane] + (ptrdiff_t)y * want->linesize[plane] + 2 * x,
                       2);
                if (have == sample << 6)
                    continue;
                fprintf(stderr, "high10: picture %u, plane %d, %d,%d: %#x for %#x\n", number, plane,
                        x, y, have, sample << 6);
                exit(1);
            }
        }
    }
    vaUnmapBuffer(display, image.buf);
    vaDestroyImage(display, image.image_id);
}

/* Pictures by the number of their packet. */
static void decode(AVCodecContext *decoder, const AVPacket *packet)
{
    AVFrame *frame = av_frame_alloc();

    if (avcodec_send_packet(decoder, packet) < 0)
        die("libavcodec cannot decode this");
    while (frame && avcodec_receive_frame(decoder, frame) >= 0) {
        if (frame->pts >= 0 && frame->pts < PICTURES)
            expected[frame->pts] = av_frame_clone(frame);
        av_frame_unref(frame);
    }
    av_frame_free(&frame);
}

int main(int argc, char **argv)
{
    AVFormatContext *file = NULL;
    AVPacket *packet = av_packet_alloc(), *units[PICTURES];
    AVBSFContext *filter = NULL;
    AVCodecContext *decoder;
    unsigned count = 0, done = 0;

    if (argc != 2 || !packet || avformat_open_input(&file, argv[1], NULL, NULL) < 0 ||
        av_bsf_alloc(av_bsf_get_by_name("h264_mp4toannexb"), &filter) < 0)
        die("usage: high10 FILE");
    avcodec_parameters_copy(filter->par_in, file->streams[0]->codecpar);
    decoder = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_H264));
    if (!decoder || av_bsf_init(filter) < 0)
        die("no decoder");
    avcodec_parameters_to_context(decoder, file->streams[0]->codecpar);
    decoder->thread_count = 1;
    /* The stream as the filter gives it: parameter sets stand in it. */
    av_freep(&decoder->extradata);
    decoder->extradata_size = 0;
    if (avcodec_open2(decoder, NULL, NULL) < 0)
        die("no decoder");
    while (count < PICTURES && av_read_frame(file, packet) >= 0) {
        if (packet->stream_index) {
            av_packet_unref(packet);
            continue;
        }
        av_bsf_send_packet(filter, packet);
        while (count < PICTURES && av_bsf_receive_packet(filter, packet) >= 0) {
            packet->pts = packet->dts = count;
            units[count++] = av_packet_clone(packet);
            decode(decoder, packet);
            av_packet_unref(packet);
        }
    }
    decode(decoder, NULL);
    open_display();
    for (unsigned i = 0; i < count; i++) {
        if (i >= SURFACES)
            compare(done++);
        if (!submit(units[i], i % SURFACES))
            die("a packet without a picture");
        av_packet_free(&units[i]);
    }
    while (done < count)
        compare(done++);
    printf("%u pictures are those of libavcodec\n", done);
    vaTerminate(display);
    for (unsigned i = 0; i < PICTURES; i++)
        av_frame_free(&expected[i]);
    avcodec_free_context(&decoder);
    av_bsf_free(&filter);
    avformat_close_input(&file);
    av_packet_free(&packet);
    return count ? 0 : 1;
}
