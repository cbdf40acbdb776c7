/* SPDX-License-Identifier: MIT */
#include "encoder.h"

#include <libavutil/opt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <va/va.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "encoder_input.h"
#include "encoder_jpeg.h"
#include "encoder_list.h"
#include "encoder_rate.h"

#define ENCODER_MAX_THREADS 16
/* Pictures between new encoders that nobody's IDR picture asked for: each costs an intra picture.
 */
#define QP_PATIENCE 8

struct encoder {
    const struct encode_codec *codec;
    const char *family; /* NULL: software */
    void *write_state, *write_backup;
    struct encoder_jpeg *jpeg; /* instead of all that follows */
    struct encoder_input input;
    AVPacket *packet;
    int threads;
    const struct encoder_row *row; /* of the open encoder, or the next one */
    AVCodecContext *context;       /* NULL: none is open */
    /* What it was opened with. */
    struct encode_tools tools;
    uint32_t mode;
    struct encoder_rates rates;
    uint64_t pictures; /* since then */
    uint64_t time;     /* of the next picture, in pictures: those that the app left out count */
    bool deltas;       /* regions can have QPs of their own in it */
    bool shifts;       /* CQP, VBR: one region, the whole picture, brings each to its QP */
    bool proven;       /* `write` took a picture of this row */
    bool mixed_qp;     /* CQP: pictures since then had different ones */
    int qp;            /* CQP: of the last picture */
    int qp_i, qp_p;    /* of both kinds, -1: none yet */
    bool knew_p;       /* when it was opened, or since */
    enum encode_type last_type;
    struct encoder_rate rate; /* ENCODER_RATE; lives on in a new encoder of the same */
    bool lost;                /* the app misses a picture: the next one is an IDR picture */
};

static int thread_count(int threads)
{
    long n = threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > ENCODER_MAX_THREADS ? ENCODER_MAX_THREADS : (int)n;
}

int encoder_create(const struct encode_codec *codec, const char *family, int threads,
                   struct encoder **ret_encoder)
{
    struct encoder *self = calloc(1, sizeof(*self));
    size_t size = codec->write_state_size ? codec->write_state_size : 1;

    if (!self)
        return VD_ERR_MEMORY;
    self->codec = codec;
    self->family = family;
    self->threads = thread_count(threads);
    self->qp_i = self->qp_p = -1;
    self->write_state = calloc(1, size);
    self->write_backup = calloc(1, size);
    self->packet = av_packet_alloc();
    if (codec->codec == VD_CODEC_JPEG)
        self->jpeg = encoder_jpeg_create();
    if (!self->write_state || !self->write_backup || !self->packet ||
        (codec->codec == VD_CODEC_JPEG && !self->jpeg)) {
        encoder_destroy(self);
        return VD_ERR_MEMORY;
    }
    *ret_encoder = self;
    return 0;
}

void encoder_destroy(struct encoder *self)
{
    if (!self)
        return;
    avcodec_free_context(&self->context);
    av_packet_free(&self->packet);
    encoder_input_finish(&self->input);
    encoder_jpeg_destroy(self->jpeg);
    free(self->write_state);
    free(self->write_backup);
    free(self);
}

/* What the stream's headers fix; the period is for rate control only. */
static bool same_tools(const struct encode_tools *a, const struct encode_tools *b)
{
    struct encode_tools x = *a, y = *b;

    x.intra_period = y.intra_period = 0;
    return memcmp(&x, &y, sizeof(x)) == 0;
}

static bool differs(int64_t a, int64_t b)
{
    int64_t difference = a > b ? a - b : b - a;

    return difference * 20 > b;
}

/* A bit rate that an encoder cannot change while it runs: not for every little step. */
static bool rate_needs_open(const struct encoder *self, const struct encoder_rates *rates, bool key)
{
    const struct encoder_rates *old = &self->rates;
    bool second = self->pictures * (uint64_t)old->frame_rate.den >= (uint64_t)old->frame_rate.num;

    if (self->shifts)
        return false;
    if (key)
        return rates->target != old->target || rates->peak != old->peak || rates->vbv != old->vbv ||
               av_cmp_q(rates->frame_rate, old->frame_rate) != 0;
    return second && (differs(rates->target, old->target) || differs(rates->peak, old->peak) ||
                      av_cmp_q(rates->frame_rate, old->frame_rate) != 0);
}

static bool qp_needs_open(const struct encoder *self, const struct encoder_rates *rates, bool key)
{
    if (self->row->flags & ENCODER_REOPEN_I)
        return key && self->last_type == ENCODE_P && (self->mixed_qp || self->qp != rates->qp);
    if (self->row->flags & ENCODER_LIVE_QP || self->shifts)
        return false;
    if (key && self->row->flags & ENCODER_QP_I && rates->qp_i != self->rates.qp_i)
        return true;
    return rates->qp_p != self->rates.qp_p &&
           (key || self->pictures >= QP_PATIENCE || !self->knew_p);
}

static bool needs_open(const struct encoder *self, const struct encode_request *request,
                       const struct encoder_rates *rates, bool key)
{
    const struct encoder_rates *old = &self->rates;
    uint32_t mode = request->rate.mode;

    if (!self->context || mode != self->mode || !same_tools(&request->tools, &self->tools))
        return true;
    if (mode == VA_RC_CQP ? qp_needs_open(self, rates, key)
                          : !(self->row->flags & ENCODER_LIVE_RATE) && mode != VA_RC_ICQ &&
                                rate_needs_open(self, rates, key))
        return true;
    /* Hints can wait for an intra picture. */
    return key && (rates->level != old->level || rates->min_qp != old->min_qp ||
                   rates->max_qp != old->max_qp ||
                   (!(self->row->flags & ENCODER_LIVE_QP) && rates->quality != old->quality));
}

/* The first row that takes what the request is made of, or the next one. */
static const struct encoder_row *find_row(const struct encoder *self,
                                          const struct encode_request *request,
                                          const struct encoder_row *after)
{
    uint32_t chroma = request->tools.chroma ? request->tools.chroma : 1;

    return encoder_list_find(self->codec->codec, request->tools.bit_depth, chroma, self->family,
                             after);
}

/* A new encoder of the current row, or of those behind it. */
static int open_encoder(struct encoder *self, const struct encode_request *request,
                        const struct encoder_rates *rates, const struct pixels *pixels)
{
    uint32_t chroma = request->tools.chroma ? request->tools.chroma : 1;
    int err = VD_ERR_UNSUPPORTED;

    avcodec_free_context(&self->context);
    if (!self->row)
        self->row = find_row(self, request, NULL);
    for (; self->row; self->row = find_row(self, request, self->row)) {
        enum AVPixelFormat format =
            encoder_list_format(self->row, request->tools.bit_depth, chroma,
                                encoder_input_format(pixels->format->fourcc));

        if (self->row->rates & request->rate.mode && format != AV_PIX_FMT_NONE)
            err =
                encoder_list_open(self->row, request, rates, self->threads, format, &self->context);
        if (!err)
            break;
        self->proven = false;
    }
    if (err)
        return err;
    self->tools = request->tools;
    self->mode = request->rate.mode;
    self->rates = *rates;
    self->deltas = encoder_has_deltas(request);
    self->shifts = self->deltas && self->row->flags & ENCODER_ROI_ALWAYS &&
                   (self->mode == VA_RC_CQP || self->mode == VA_RC_VBR);
    self->knew_p = self->qp_p >= 0;
    self->pictures = 0;
    self->time = 0;
    self->mixed_qp = false;
    return 0;
}

static int clip(int value, uint32_t most)
{
    return value < 0 ? 0 : value > (int)most ? (int)most : value;
}

static int put_regions(const struct encoder *self, const struct encode_request *request,
                       const struct encoder_rates *rates, AVFrame *frame)
{
    const struct encode_tools *tools = &request->tools;
    uint32_t count = request->region_count < VD_MAX_ROI ? request->region_count : VD_MAX_ROI;
    AVRegionOfInterest regions[VD_MAX_ROI + 1] = {0};
    /* QPs of the whole scale, which is longer for more bits in HEVC. */
    int limit = encode_qp_limit((int)tools->profile);
    int scale = limit == 51 && tools->bit_depth > 8 ? 63 : limit;
    int shift = !self->shifts             ? 0
                : self->mode == VA_RC_CQP ? rates->qp - ENCODER_BASE_QP
                                          : (int)lround(rates->chosen) - ENCODER_BASE_QP;
    AVFrameSideData *data;
    size_t n = 0;

    if (!(self->row->flags & ENCODER_ROI) || !self->deltas)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct encode_region *from = &request->regions[i];
        AVRegionOfInterest *to = &regions[n];

        to->self_size = sizeof(*to);
        to->left = clip(from->x, tools->width);
        to->top = clip(from->y, tools->height);
        to->right = clip(from->x + from->width, tools->width);
        to->bottom = clip(from->y + from->height, tools->height);
        to->qoffset = (AVRational){from->delta_qp + shift, scale};
        if (to->left < to->right && to->top < to->bottom)
            n++;
    }
    /* The rest of the picture: of two regions the first counts. */
    if (self->row->flags & ENCODER_ROI_ALWAYS)
        regions[n++] = (AVRegionOfInterest){.self_size = sizeof(regions[0]),
                                            .right = (int)tools->width,
                                            .bottom = (int)tools->height,
                                            .qoffset = {shift, scale}};
    if (!n)
        return 0;
    data = av_frame_new_side_data(frame, AV_FRAME_DATA_REGIONS_OF_INTEREST, n * sizeof(regions[0]));
    if (!data)
        return VD_ERR_MEMORY;
    memcpy(data->data, regions, n * sizeof(regions[0]));
    return 0;
}

/*
 * The running encoder counts time in its own frame rate: bits a picture are what stays. One that
 * stands for those left out before it has their bits.
 */
static void live_rates(const struct encoder *self, const struct encoder_rates *rates,
                       struct encoder_rates *ret_rates)
{
    AVRational old = self->rates.frame_rate, new = rates->frame_rate;

    *ret_rates = *rates;
    new.den *= (int)rates->left_out + 1;
    if (av_cmp_q(old, new) == 0)
        return;
    ret_rates->target =
        av_rescale(rates->target, (int64_t)old.num * new.den, (int64_t)old.den * new.num);
    ret_rates->peak =
        av_rescale(rates->peak, (int64_t)old.num * new.den, (int64_t)old.den * new.num);
}

/* One picture into the open encoder, its packet into self->packet. */
static int encode(struct encoder *self, const struct encode_request *request,
                  const struct encoder_rates *rates, const struct pixels *pixels, bool key)
{
    const struct encoder_row *row = self->row;
    struct encoder_rates live;
    AVFrame *frame = NULL;
    int err = encoder_input_take(&self->input, pixels, request->tools.width, request->tools.height,
                                 self->context->pix_fmt, row->flags & ENCODER_COPY, false, &frame);

    if (err)
        return err;
    /* Those whose rate is controlled here are told by it. */
    if (!(row->flags & ENCODER_RATE))
        self->time += request->skipped;
    frame->pts = (int64_t)self->time++;
    frame->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    err = put_regions(self, request, rates, frame);
    if (!err && row->live) {
        live_rates(self, rates, &live);
        row->live(self->context, frame, request, &live);
    }
    if (!err && avcodec_send_frame(self->context, frame) < 0)
        err = VD_ERR_DECODE;
    if (!err && avcodec_receive_packet(self->context, self->packet) < 0)
        err = VD_ERR_DECODE;
    encoder_input_drop(&self->input);
    self->mixed_qp |= self->pictures > 0 && rates->qp != self->qp;
    self->qp = rates->qp;
    self->last_type = key ? ENCODE_IDR : ENCODE_P;
    self->pictures++;
    return err;
}

/* What the encoder says of the picture, as far as it says anything. */
static void read_packet(const AVPacket *from, struct encode_packet *ret_packet)
{
    size_t size = 0;
    const uint8_t *stats = av_packet_get_side_data(from, AV_PKT_DATA_QUALITY_STATS, &size);

    *ret_packet = (struct encode_packet){
        .data = from->data,
        .size = (size_t)from->size,
        .key = from->flags & AV_PKT_FLAG_KEY,
        .qp = -1,
    };
    if (!stats || size < 5)
        return;
    ret_packet->qp = (int)(((uint32_t)stats[0] | (uint32_t)stats[1] << 8 |
                            (uint32_t)stats[2] << 16 | (uint32_t)stats[3] << 24) /
                           FF_QP2LAMBDA);
    /* Where a rolling refresh begins is a point of entry, and no intra picture. */
    if (stats[4] != AV_PICTURE_TYPE_NONE && stats[4] != AV_PICTURE_TYPE_I)
        ret_packet->key = false;
}

static int write_packet(struct encoder *self, const struct encode_request *request,
                        const struct encoder_rates *rates, struct encode_output *output)
{
    struct encode_packet packet;
    int err;

    read_packet(self->packet, &packet);
    if (self->row->flags & ENCODER_RATE || (self->shifts && request->rate.mode == VA_RC_VBR))
        encoder_rate_done(&self->rate, rates, self->codec->codec, 8 * (uint64_t)packet.size,
                          packet.key, request->rate.mode == VA_RC_CBR);
    memcpy(self->write_backup, self->write_state, self->codec->write_state_size);
    err = self->codec->write(self->write_state, request, &packet, output);
    if (err)
        memcpy(self->write_state, self->write_backup, self->codec->write_state_size);
    av_packet_unref(self->packet);
    return err;
}

/* An encoder that is opened with its QPs should know those of both kinds of pictures. */
static void remember_qp(struct encoder *self, enum encode_type type, struct encoder_rates *rates)
{
    if (type == ENCODE_P)
        self->qp_p = rates->qp;
    else
        self->qp_i = rates->qp;
    rates->qp_i = self->qp_i >= 0 ? self->qp_i : self->qp_p;
    rates->qp_p = self->qp_p >= 0 ? self->qp_p : self->qp_i;
}

static int run(struct encoder *self, const struct encode_request *request,
               const struct pixels *pixels, struct encode_output *output)
{
    bool key = request->type != ENCODE_P || self->lost;
    struct encoder_rates rates;
    size_t start = output->size;
    int err;

    encoder_rates_read(request, &rates);
    remember_qp(self, request->type, &rates);
    /* Costs of other pictures say nothing of these. */
    if (request->rate.mode != self->mode || request->tools.width != self->tools.width ||
        request->tools.height != self->tools.height)
        self->rate = (struct encoder_rate){0};
    rates.chosen = encoder_rate_qp(&self->rate, &rates, self->codec->codec,
                                   (uint64_t)request->tools.width * request->tools.height, key,
                                   request->rate.mode == VA_RC_CBR);
    if (needs_open(self, request, &rates, key)) {
        if (self->context && !same_tools(&request->tools, &self->tools)) {
            /* What a better one could not do before it may now. */
            self->row = NULL;
            self->proven = false;
        }
        err = open_encoder(self, request, &rates, pixels);
        if (err)
            return err;
        key = true;
    }
    self->knew_p |= request->type == ENCODE_P;
    for (;;) {
        err = encode(self, request, &rates, pixels, key);
        if (!err) {
            err = write_packet(self, request, &rates, output);
            self->proven |= !err;
        }
        if (!err || self->proven || err == VD_ERR_MEMORY)
            break;
        /* Its pictures do not fit under the app's headers: another encoder's may. */
        log_debug("%s does not do what the app's headers say", self->row->name);
        output->size = start;
        self->row = find_row(self, request, self->row);
        if (!self->row || open_encoder(self, request, &rates, pixels))
            break;
        key = true;
    }
    if (err)
        avcodec_free_context(&self->context);
    return err;
}

static int run_jpeg(struct encoder *self, const struct encode_request *request,
                    const struct pixels *pixels, struct encode_output *output)
{
    struct encode_packet packet = {.key = true, .qp = -1};
    int err = encoder_jpeg_run(self->jpeg, request, pixels, &packet);

    return err ? err : self->codec->write(self->write_state, request, &packet, output);
}

int encoder_run(struct encoder *self, const struct encode_request *request,
                const struct pixels *input, struct encode_output *output)
{
    const struct encode_tools *tools = &request->tools;
    int err = VD_ERR_UNSUPPORTED;

    if (!request->coded_by_app && tools->width && tools->height && tools->width <= VD_MAX_WIDTH &&
        tools->height <= VD_MAX_HEIGHT)
        err =
            self->jpeg ? run_jpeg(self, request, input, output) : run(self, request, input, output);
    if (!err && output->size > output->room)
        err = VD_ERR_LIMIT;
    self->lost = err != 0;
    return err;
}
