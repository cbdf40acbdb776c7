/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODER_LIST_H
#define HOST_ENCODER_LIST_H

#include <libavcodec/avcodec.h>

#include "encode.h"

/* What an encoder can do beyond one picture in, one packet out. */
enum encoder_flag {
    ENCODER_LIVE_RATE = 1 << 0,  /* bit rate, peak and buffer change without a new encoder */
    ENCODER_LIVE_QP = 1 << 1,    /* CQP: each picture has its own; ICQ, QVBR: the quality changes */
    ENCODER_REOPEN_I = 1 << 2,   /* CQP: only a first picture gets the intra QP that is asked for */
    ENCODER_ROI = 1 << 3,        /* regions, as side data */
    ENCODER_ROI_ALWAYS = 1 << 4, /* regions from the first picture on, or it crashes */
    ENCODER_REFRESH = 1 << 5,    /* rolling intra refresh, by columns */
    ENCODER_COPY = 1 << 6,       /* reads its input more than once: it needs memory of its own */
    ENCODER_SLICES = 1 << 7,     /* several slices a picture */
    ENCODER_RATE = 1 << 8,       /* CBR, VBR: encoder_rate.c chooses its quantisers */
    ENCODER_LAYERS = 1 << 10,    /* VP8, VP9: the app's references, where it has temporal layers */
    ENCODER_QP_I = 1 << 9,       /* CQP: opened with two QPs, of intra and other pictures */
};

/* Rate control in an encoder's terms: clamped, so that no app's number is out of its range. */
struct encoder_rates {
    int64_t target, peak;   /* bits per second */
    int vbv, initial;       /* bits */
    AVRational frame_rate;  /* 1/10 to 1000 */
    int qp, min_qp, max_qp; /* of the codec's own scale; max_qp 0: no limits */
    int qp_i, qp_p; /* CQP: the last ones of both kinds; the same where one is not known yet */
    uint32_t left_out,
        left_bits;           /* pictures before this one, and bits that the app sent for them */
    double chosen;           /* ENCODER_RATE: the QP of this picture */
    uint32_t quality, level; /* 1 to 51; 1 to ENCODE_QUALITY_LEVELS, 0: the default */
};

/* QP of encoders whose pictures get theirs as an offset to it. */
#define ENCODER_BASE_QP 26
/* Slices of a picture that an app may ask for. */
#define ENCODER_MAX_SLICES 32

struct encoder_setup {
    const struct encode_request *request;
    const struct encoder_rates *rates;
    AVCodecContext *context;
    AVDictionary *options;
    int threads;
    bool failed; /* an option did not fit into memory */
};

/* One encoder of libavcodec: a row of encoder_list.c. */
struct encoder_row {
    const char *name;
    enum vd_codec codec;
    uint32_t flags; /* ENCODER_* */
    uint32_t rates; /* VA_RC_* it obeys */
    uint32_t min_size, max_size;
    /* What it takes, of each kind of samples the best first; ends with AV_PIX_FMT_NONE. */
    const enum AVPixelFormat *formats;
    /* Fills context and options of a new encoder. */
    void (*options)(struct encoder_setup *setup);
    /* What ENCODER_LIVE_* means here, before each picture; NULL: nothing. */
    void (*live)(AVCodecContext *context, AVFrame *frame, const struct encode_request *request,
                 const struct encoder_rates *rates);
};

/* "nvenc" of h264_nvenc; NULL: software. */
const char *encoder_list_family(const struct encoder_row *row);
/*
 * The best encoder of a codec, bit depth and chroma_format_idc that opens here, of that family or
 * in software (NULL: only those); NULL: none. Found once and remembered, any thread. `after`: the
 * next best one, NULL: the best. Hardware is opened in a process that does not fork later.
 */
const struct encoder_row *encoder_list_find(enum vd_codec codec, uint32_t bit_depth,
                                            uint32_t chroma, const char *family,
                                            const struct encoder_row *after);
/*
 * What a row is given for such samples: `have`, if it takes that, else what it likes best;
 * AV_PIX_FMT_NONE: it does not take them.
 */
enum AVPixelFormat encoder_list_format(const struct encoder_row *row, uint32_t bit_depth,
                                       uint32_t chroma, enum AVPixelFormat have);
/* A new encoder. 0, -VD_ERR_UNSUPPORTED or -VD_ERR_MEMORY. */
int encoder_list_open(const struct encoder_row *row, const struct encode_request *request,
                      const struct encoder_rates *rates, int threads, enum AVPixelFormat format,
                      AVCodecContext **ret_context);

/* encoder_options_*.c */
void encoder_rates_read(const struct encode_request *request, struct encoder_rates *ret_rates);
/* Whether blocks may have QPs of their own under the headers that the app wrote. */
bool encoder_has_deltas(const struct encode_request *request);
/* What encoder_rate.c may choose from: QPs of H.264's scale. */
void encoder_chosen_range(enum vd_codec codec, const struct encoder_rates *rates, double *ret_least,
                          double *ret_most);
void encoder_options_x264(struct encoder_setup *setup);
void encoder_options_x265(struct encoder_setup *setup);
void encoder_options_vpx(struct encoder_setup *setup);
void encoder_options_aom(struct encoder_setup *setup);
void encoder_options_mpeg2(struct encoder_setup *setup);
void encoder_options_nvenc(struct encoder_setup *setup);
void encoder_options_qsv(struct encoder_setup *setup);
void encoder_options_amf(struct encoder_setup *setup);
void encoder_live_x264(AVCodecContext *context, AVFrame *frame,
                       const struct encode_request *request, const struct encoder_rates *rates);
void encoder_live_vpx(AVCodecContext *context, AVFrame *frame, const struct encode_request *request,
                      const struct encoder_rates *rates);
void encoder_live_mpeg2(AVCodecContext *context, AVFrame *frame,
                        const struct encode_request *request, const struct encoder_rates *rates);

#endif
