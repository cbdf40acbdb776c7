/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_H
#define HOST_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <viaduct/codecs.h>
#include <viaduct/protocol.h>

/*
 * Encoding, between VA-API and any encoder. A codec, one file, does two things:
 *
 *   read    from the VA buffers of a picture to what any encoder understands (encode_request)
 *   write   from the encoder's packet to what the app gets: a stream that is legal under the
 * headers that the app believes in (packed headers), or the encoder's own if it sent none
 *
 * All memory is private to the host and has passed collect_encode.c: structs have their full size,
 * counts are within limits, headers lie inside their data. Values of single fields are still the
 * guest's: a codec must cope with any of them.
 */

/* Parameter buffers that a picture has at most once. */
enum encode_param {
    ENCODE_PARAM_SEQUENCE,
    ENCODE_PARAM_PICTURE,
    ENCODE_PARAM_MATRIX,
    ENCODE_PARAM_HUFFMAN,
    ENCODE_PARAM_COUNT,
};

/* One VAEncMiscParameterBuffer: `data` is what follows its type, at an address aligned to 8. */
struct encode_misc {
    uint32_t type; /* VAEncMiscParameterType */
    uint32_t size;
    const void *data; /* VAEncMiscParameterTypeROI: a struct vd_enc_roi */
};

/* One packed header, as the app made it. */
struct encode_header {
    uint32_t type; /* VAEncPackedHeaderType: VAEncPackedHeaderSequence, ..., or of the codec */
    bool escaped;  /* it has its emulation prevention bytes (has_emulation_bytes) */
    uint32_t bits; /* bit_length */
    const uint8_t *bytes; /* (bits + 7) / 8 of them; begin with a start code for H.264 and HEVC */
};

/* What the app sent for one picture. Valid during `read`, but for the headers' bytes. */
struct encode_picture {
    int profile;                            /* VAProfile */
    uint32_t width, height;                 /* of the context, pixels */
    uint32_t surface_width, surface_height; /* of the input */
    uint32_t rate_control;                  /* VA_RC_* of the config */
    uint32_t packed_headers;                /* VA_ENC_PACKED_HEADER_* of the config */
    const void *param[ENCODE_PARAM_COUNT]; /* the codec's struct, or NULL where the app sent none */
    const void *const *slices;             /* the codec's slice parameter structs */
    uint32_t slice_count;
    const struct encode_misc *misc;
    uint32_t misc_count;
    const struct encode_header *headers; /* in the order they came */
    uint32_t header_count;
};

enum encode_type { ENCODE_IDR, ENCODE_I, ENCODE_P };

/* Rate control. Apps send it as often as they like: a change is a difference in bytes. */
struct encode_rate {
    uint32_t mode;                           /* VA_RC_CQP, CBR, VBR, ICQ, QVBR */
    uint32_t bits_per_second;                /* target */
    uint32_t peak;                           /* bits per second at most; the target for CBR */
    uint32_t vbv_bits;                       /* size of the HRD buffer, 0: not told */
    uint32_t vbv_initial;                    /* its fullness at the start in bits, 0: not told */
    uint32_t min_qp, max_qp;                 /* 0: no limit */
    uint32_t quality;                        /* ICQ, QVBR: quality_factor, 1 (best) to 51 */
    uint32_t frame_rate_num, frame_rate_den; /* never 0 */
    uint32_t quality_level;   /* 0: default; 1 (best) to ENCODE_QUALITY_LEVELS (fastest) */
    uint32_t max_frame_bits;  /* 0: no limit */
    uint32_t temporal_layers; /* 0 or 1: none */
};
#define ENCODE_QUALITY_LEVELS 7

enum { ENCODE_LAST = 1, ENCODE_GOLDEN = 2, ENCODE_ALTERNATE = 4 };
#define ENCODE_TEMPORAL_LAYERS 3

struct encode_region {
    int16_t x, y;
    uint16_t width, height;
    int32_t delta_qp; /* of the codec's own scale, -encode_qp_limit to encode_qp_limit */
};

/*
 * What the stream's headers fix, and the encoder has to keep to so that its slices are legal under
 * the app's headers. A change opens a new encoder, at an IDR picture. Members of other codecs are
 * 0.
 */
struct encode_tools {
    uint32_t profile;       /* VAProfile */
    uint32_t width, height; /* pixels that are shown: cropping is taken off */
    uint32_t bit_depth;     /* 8 or 10 */
    uint32_t chroma;        /* chroma_format_idc; 0 is 1, 4:2:0 */
    uint32_t intra_period;  /* 0: only the first picture; for the encoder's rate control only */
    uint32_t slices;        /* a picture, 1 or more */
    uint32_t slice_rows;    /* rows of blocks in each but the last one; 0: as the encoder likes */
    uint32_t intra_refresh; /* pictures that a rolling intra refresh takes, 0: none */
    bool layered; /* pictures of upper temporal layers may be dropped: the app says what refers */
    struct {
        bool cabac, transform_8x8, deblocking_control, weighted;
        int8_t cb_qp_offset, cr_qp_offset;
        uint8_t level_idc;
    } h264;
    struct {
        uint8_t log2_ctb, log2_min_cb, log2_min_tb, log2_max_tb;
        uint8_t depth_inter, depth_intra; /* max_transform_hierarchy_depth_* */
        uint8_t diff_cu_qp_delta_depth, level_idc;
        bool amp, sao, sign_hiding, transform_skip, strong_intra, temporal_mvp, cu_qp_delta;
        bool transquant_bypass, weighted_pred, constrained_intra, loop_filter_across;
        int8_t cb_qp_offset, cr_qp_offset;
    } hevc;
    struct {
        uint8_t chroma_420, interlaced, intra_dc_precision;
    } mpeg2;
    struct {
        bool header; /* the app made the sequence header: the rest is what that says */
        bool superblock_128, filter_intra, intra_edge_filter, interintra_compound;
        bool masked_compound, warped_motion, dual_filter, order_hint, jnt_comp;
        bool cdef, restoration;
    } av1;
};

/* Codec's own memory in a request, for its `write`. */
#define ENCODE_PRIVATE 512

/* One picture, complete in itself: it crosses from the session's thread to the context's. */
struct encode_request {
    enum encode_type type;
    bool reference; /* later pictures may refer to it */
    uint32_t layer; /* temporal */
    uint32_t qp;    /* CQP: of the picture */
    /* Pictures that the app left out before this one, and the bits that it sent for them. */
    uint32_t skipped, skipped_bits;
    bool coded_by_app; /* the app has coded it itself, and wants its headers wrapped */
    /*
     * tools.layered: which of the three pictures that VP8 and VP9 keep this one refers to, and
     * takes the place of: bits ENCODE_LAST, ENCODE_GOLDEN, ENCODE_ALTERNATE.
     */
    uint8_t refer, refresh;
    struct encode_tools tools;
    struct encode_rate rate;
    struct encode_region regions[VD_MAX_ROI];
    uint32_t region_count;
    uint32_t packed_headers;                      /* VA_ENC_PACKED_HEADER_* of the config */
    struct encode_header headers[VD_MAX_HEADERS]; /* bytes stay valid until `write` is done */
    uint32_t header_count;
    _Alignas(8) uint8_t own[ENCODE_PRIVATE];
};

/* What an encoder gave for one picture. */
struct encode_packet {
    const uint8_t *data;
    size_t size;
    bool key;
    int qp; /* average of the picture, -1: not known */
};

/* The coded buffer's bytes. `size` grows beyond `room` if there is not enough (nothing is written).
 */
struct encode_output {
    uint8_t *bytes;
    size_t room, size;
    uint32_t status; /* VA_CODED_BUF_STATUS_* */
};

/* `state`: zeroed memory a context. */
struct encode_codec {
    enum vd_codec codec;
    size_t read_state_size, write_state_size;
    /*
     * Session's thread. 0, or a negative VD_ERR_*: what the app asks for cannot be encoded, the
     * picture is lost. ret_request is zeroed memory.
     */
    int (*read)(void *state, const struct encode_picture *picture,
                struct encode_request *ret_request);
    /*
     * Context's thread, in order, for every packet. Appends to `output`. 0, or -VD_ERR_DECODE if
     * the packet cannot be brought under the app's headers.
     */
    int (*write)(void *state, const struct encode_request *request,
                 const struct encode_packet *packet, struct encode_output *output);
    /*
     * Config attributes that depend on the codec (not on the encoder): EncMaxRefFrames,
     * EncPackedHeaders, EncHEVCFeatures, ... Returns how many were written.
     */
    uint32_t (*attributes)(int profile, uint32_t *ret_types, uint32_t *ret_values, uint32_t room);
};

/* encode.c: the table, NULL if nothing encodes this codec. */
const struct encode_codec *encode_codec_find(enum vd_codec codec);

/* encode_misc.c: the largest QP of a profile's own scale, which deltas of regions are in, too. */
int encode_qp_limit(int profile);

/*
 * encode_misc.c: what all codecs read alike: rate control, HRD, frame rate, quality level, frame
 * size, regions, intra refresh, temporal layers. `rate` is the codec's memory from picture to
 * picture, as apps send what changes; it and regions are copied to the request.
 */
struct encode_misc_state {
    struct encode_rate rate;
    uint32_t intra_refresh;
};
void encode_misc_read(struct encode_misc_state *state, const struct encode_picture *picture,
                      struct encode_request *request);
/* What a sequence buffer says of the rate where no misc buffer did; 0: it says nothing. */
void encode_misc_sequence(struct encode_misc_state *state, uint32_t bits_per_second,
                          uint32_t frame_rate_num, uint32_t frame_rate_den);

/* encode_output.c: appends bytes, or only counts them when the room is used up. */
void encode_put(struct encode_output *output, const void *bytes, size_t size);

extern const struct encode_codec encode_h264;
extern const struct encode_codec encode_hevc;
extern const struct encode_codec encode_vp8;
extern const struct encode_codec encode_vp9;
extern const struct encode_codec encode_av1;
extern const struct encode_codec encode_mpeg2;
extern const struct encode_codec encode_jpeg;

#endif
