/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_BITSTREAM_H
#define VIADUCT_BITSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * From VA parameter buffers to a legal bitstream: what a builder gets and what it gives.
 *
 * VA-API carries slices and parsed header fields but no parameter sets. A builder, one file a
 * codec, writes the missing headers so that any decoder can take the picture.
 *
 * Everything a builder sees is private memory of the host that has passed the checks of the
 * dispatcher (wire/va_picture.c): structs have their full size, counts are within the limits of
 * va_structs.def, slices lie inside their data. The values of single fields are still the
 * guest's: a builder must cope with any of them and may refuse the picture, but must not read or
 * write outside what it was given.
 */

/* Least bytes that the dispatcher leaves free in front of every slice, for a start code. */
#define BITSTREAM_SLICE_GAP 4
/* Bytes that the dispatcher leaves free in front of the first gap, for parameter sets. */
#define BITSTREAM_HEAD_ROOM 8192
/* Zero bytes that follow the last slice (libavcodec reads past the end). */
#define BITSTREAM_TAIL_ROOM 64

/* Bytes of a packet without a picture. */
#define BITSTREAM_NO_OP_ROOM 16

/* Parameter buffers that a picture has at most once. */
enum va_param {
    VA_PARAM_PICTURE,
    VA_PARAM_IQ_MATRIX,
    VA_PARAM_HUFFMAN,
    VA_PARAM_PROBABILITY,
    VA_PARAM_BITPLANE,
    VA_PARAM_COUNT,
};

/*
 * One slice. `param` is the codec's VASliceParameterBuffer*, `data` its `size` bytes.
 * The slices of a picture lie in one block: slice 0 starts bitstream_builder.gap bytes after the
 * head room, slice i + 1 starts so many bytes after the end of slice i. Behind the last one are
 * BITSTREAM_TAIL_ROOM zeros, which may be written, too.
 */
struct va_slice {
    const void *param;
    uint8_t *data;
    uint32_t size;
};

/* One parameter buffer of a picture. */
struct va_copy {
    enum va_param slot;
    const void *param;
};

struct va_picture {
    int profile;                         /* VAProfile of the context */
    uint32_t width, height;              /* of the context, pixels */
    const void *param[VA_PARAM_COUNT];   /* the codec's struct, or NULL where the app sent none */
    uint32_t param_size[VA_PARAM_COUNT]; /* bytes; sizeof the struct where there is one */
    /*
     * All parameter buffers in the order they came; param[] has the last of each kind. Apps send
     * the tables of a JPEG anew with every scan, and scans may use different ones.
     */
    const struct va_copy *copies;
    uint32_t copy_count;
    struct va_slice *slices;
    uint32_t slice_count;
    /* BITSTREAM_HEAD_ROOM writable bytes; they end where the gap of slice 0 starts. */
    uint8_t *head;
};

enum bitstream_flags {
    BITSTREAM_KEY = 1 << 0,       /* decoding can start here */
    BITSTREAM_TOP_FIELD = 1 << 1, /* a single field: a second one may follow */
    BITSTREAM_BOTTOM_FIELD = 1 << 2,
    BITSTREAM_RESET = 1 << 3, /* AV1: replaces all references, so nothing before it matters */
};

/*
 * AV1: whether a picture is kept as a reference, and in whose place, may only be known when the
 * next one says what it refers to. `refresh_frame_flags` is for picture number `open`.
 */
#define BITSTREAM_MAX_OPEN 2
struct bitstream_refresh {
    uint64_t open;
    uint8_t refresh_frame_flags;
};

/* The result lies inside the block the picture came in (headers were put into head and gaps). */
struct bitstream_packet {
    uint8_t *data;
    size_t size;
    uint32_t flags;       /* enum bitstream_flags */
    uint32_t coded_width; /* pixels the decoder will ask memory for */
    uint32_t coded_height;
    /*
     * Headers that the decoder wants before its first packet, for codecs that carry them beside
     * the stream (AVCodecContext.extradata); a change starts the decoder anew. In the block, too
     * (the start of the head room), as packets wait while others are built.
     */
    const uint8_t *extradata;
    size_t extradata_size;
    /*
     * A packet without a picture that may follow this one, for codecs where it depends on what
     * was decoded before. Size 0: there is none.
     */
    uint8_t no_op[BITSTREAM_NO_OP_ROOM];
    size_t no_op_size;
    /*
     * AV1. `open` is not 0 if the picture's refresh_frame_flags are not known: they are zero, 8
     * bits at bit `open_at` of the data. A later packet has them in `refresh`; those of its own are
     * never among those. `guess` is what they may be; 0: nobody knows, or the picture is not kept.
     * It is never given if what was sent since the last BITSTREAM_RESET does not lead here.
     */
    uint64_t open;
    size_t open_at;
    uint8_t guess;
    uint8_t refresh_frame_flags; /* those in the data */
    uint8_t references;          /* the slots it refers to, a bit each */
    struct bitstream_refresh refresh[BITSTREAM_MAX_OPEN];
    uint32_t refresh_count;
};

/*
 * A codec's builder. `state` is `state_size` zeroed bytes a context, passed back each time.
 */
struct bitstream_builder {
    const char *name;
    size_t state_size;
    /* Bytes free in front of every slice: BITSTREAM_SLICE_GAP or more, for headers that grow. */
    size_t gap;
    /*
     * Pictures of a VAContext may refer to those of an earlier one: apps make a new one where the
     * size changes between key frames. Decoder and builder then outlive the context (decoder.h).
     */
    bool survives;
    /*
     * Writes the headers of one picture. 0, or a negative VD_ERR_* and no packet (but maybe its
     * `refresh`): the picture is lost and the app is told, the context goes on.
     */
    int (*build)(void *state, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet);
};

extern const struct bitstream_builder bitstream_av1;
extern const struct bitstream_builder bitstream_av1_sized; /* with extradata, for libavcodec */
extern const struct bitstream_builder bitstream_h263;
extern const struct bitstream_builder bitstream_h264;
extern const struct bitstream_builder bitstream_hevc;
extern const struct bitstream_builder bitstream_jpeg;
extern const struct bitstream_builder bitstream_mpeg2;
extern const struct bitstream_builder bitstream_mpeg4;
extern const struct bitstream_builder bitstream_vc1;
extern const struct bitstream_builder bitstream_vp8;
extern const struct bitstream_builder bitstream_vp9;

#endif
