/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <string.h>

#include <va/va.h>
#include <va/va_dec_jpeg.h>

#include <viaduct/errors.h>

#include "bits.h"
#include "jpeg_tables.h"

/*
 * JPEG (ITU-T T.81), baseline: a slice is the entropy-coded data of one scan; all marker segments
 * are written anew, each picture with the tables it uses.
 *
 * Slices may be longer than their scan: FFmpeg passes all that follows a scan header, with the
 * later scans. So a slice ends at its first marker that cannot be within a scan, and the scans
 * behind it are moved down to it. This also means that the guest can hide no header in the data.
 *
 * Component numbers are written anew, too: decoders guess RGB from numbers that spell it, where
 * VA says the colour space, and FFmpeg passes numbers that are one less than the stream's.
 */

#define TABLE_COUNT      2 /* Huffman tables of a class in baseline, and in VA */
#define QUANTISER_COUNT  4
#define MAX_COMPONENTS   4   /* B.2.3 */
#define MAX_DC_CODES     16  /* more than baseline's 12, as some encoders write */
#define MAX_AC_CODES     256 /* all there can be */
#define QUANTISER_BYTES  (2 + 2 + 1 + 64)
#define HUFFMAN_BYTES    (2 * (2 + 2 + 1 + 16) + MAX_DC_CODES + MAX_AC_CODES)
#define RESTART_BYTES    6
#define SCAN_BYTES       (2 + 6 + 2 * MAX_COMPONENTS)
#define SCAN_HEADER_ROOM 1024 /* of the tables and the header of one scan */

_Static_assert(QUANTISER_COUNT *QUANTISER_BYTES + TABLE_COUNT * HUFFMAN_BYTES + RESTART_BYTES +
                       SCAN_BYTES <=
                   SCAN_HEADER_ROOM,
               "all that a scan may need fits between two slices");

enum marker {
    DHT = 0xffc4,
    SOF0 = 0xffc0,
    SOI = 0xffd8,
    EOI = 0xffd9,
    SOS = 0xffda,
    DQT = 0xffdb,
    DRI = 0xffdd,
    APP14 = 0xffee,
};

enum color_space { COLOR_YUV, COLOR_RGB, COLOR_BGR };

/* The tables in force: what an app does not send again stays. */
struct state {
    bool quantiser_known[QUANTISER_COUNT];
    bool huffman_known[TABLE_COUNT];
    uint8_t quantiser[QUANTISER_COUNT][64];
    VAHuffmanTableBufferJPEGBaseline huffman;
};

/* What the decoder has of the present picture. Bit n: table n was written and did not change. */
struct sent {
    uint8_t quantiser, dc, ac;
    uint16_t restart_interval;
};

static void take_quantisers(struct state *state, struct sent *sent,
                            const VAIQMatrixBufferJPEGBaseline *matrix)
{
    if (!matrix)
        return;
    for (unsigned i = 0; i < QUANTISER_COUNT; i++) {
        if (!matrix->load_quantiser_table[i])
            continue;
        memcpy(state->quantiser[i], matrix->quantiser_table[i], sizeof(state->quantiser[i]));
        state->quantiser_known[i] = true;
        sent->quantiser &= (uint8_t) ~(1u << i);
    }
}

static void take_huffman(struct state *state, struct sent *sent,
                         const VAHuffmanTableBufferJPEGBaseline *huffman)
{
    if (!huffman)
        return;
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        if (!huffman->load_huffman_table[i])
            continue;
        memcpy(&state->huffman.huffman_table[i], &huffman->huffman_table[i],
               sizeof(huffman->huffman_table[i]));
        state->huffman_known[i] = true;
        sent->dc &= (uint8_t) ~(1u << i);
        sent->ac &= (uint8_t) ~(1u << i);
    }
}

/* Walks over the structs of one kind, scan by scan. */
struct walk {
    enum va_param slot;
    bool each;     /* one of them came with each scan */
    uint32_t next; /* the copy to look at next */
};

/*
 * Apps that send tables with each scan send as many as there are scans; of others the last ones
 * hold for all.
 */
static struct walk walk_start(const struct va_picture *picture, enum va_param slot)
{
    struct walk walk = {.slot = slot};
    uint32_t n = 0;

    for (uint32_t i = 0; i < picture->copy_count; i++)
        n += picture->copies[i].slot == slot;
    walk.each = n == picture->slice_count;
    return walk;
}

/* The struct that holds from this scan on, NULL for no new one. */
static const void *walk_next(struct walk *walk, const struct va_picture *picture, bool first)
{
    if (!walk->each)
        return first ? picture->param[walk->slot] : NULL;
    while (picture->copies[walk->next].slot != walk->slot)
        walk->next++;
    return picture->copies[walk->next++].param;
}

static void write_quantiser(struct bits_writer *w, unsigned index, const uint8_t *table)
{
    bits_write(w, 16, DQT);
    bits_write(w, 16, QUANTISER_BYTES - 2);
    bits_write(w, 8, index); /* Pq, Tq */
    for (unsigned i = 0; i < 64; i++)
        bits_write(w, 8, table[i]);
}

/*
 * One Huffman table (B.2.4.2). VA holds `value_count` values; tables that claim more have codes for
 * symbols that no baseline scan contains, and these get the values that are left over.
 */
static int write_huffman(struct bits_writer *w, unsigned class_and_index, const uint8_t *counts,
                         const uint8_t *values, unsigned value_count, unsigned most)
{
    bool used[256] = {false};
    unsigned total = 0, left_over = 0;

    for (unsigned i = 0; i < 16; i++)
        total += counts[i];
    if (total == 0 || total > most)
        return VD_ERR_PARAMETER;
    bits_write(w, 16, DHT);
    bits_write(w, 16, 2 + 1 + 16 + total);
    bits_write(w, 8, class_and_index);
    for (unsigned i = 0; i < 16; i++)
        bits_write(w, 8, counts[i]);
    for (unsigned i = 0; i < total && i < value_count; i++) {
        bits_write(w, 8, values[i]);
        used[values[i]] = true;
    }
    for (unsigned i = value_count; i < total; i++) {
        while (left_over < 255 && used[left_over])
            left_over++;
        bits_write(w, 8, left_over);
        used[left_over] = true;
    }
    return 0;
}

static int write_huffman_pair(const struct state *state, struct sent *sent, struct bits_writer *w,
                              unsigned dc, unsigned ac)
{
    const VAHuffmanTableBufferJPEGBaseline *t;
    int err = 0;

    if (!(sent->dc & 1u << dc)) {
        t = state->huffman_known[dc] ? &state->huffman : &jpeg_tables_default;
        err =
            write_huffman(w, dc, t->huffman_table[dc].num_dc_codes, t->huffman_table[dc].dc_values,
                          sizeof(t->huffman_table[dc].dc_values), MAX_DC_CODES);
        sent->dc |= (uint8_t)(1u << dc);
    }
    if (!err && !(sent->ac & 1u << ac)) {
        t = state->huffman_known[ac] ? &state->huffman : &jpeg_tables_default;
        err = write_huffman(w, 0x10 | ac, t->huffman_table[ac].num_ac_codes,
                            t->huffman_table[ac].ac_values, sizeof(t->huffman_table[ac].ac_values),
                            MAX_AC_CODES);
        sent->ac |= (uint8_t)(1u << ac);
    }
    return err;
}

/* MCUs of an interleaved scan of a picture that high (A.2.4). */
static uint32_t count_mcus(const VAPictureParameterBufferJPEGBaseline *param, uint32_t height)
{
    uint32_t h = 1, v = 1;

    for (unsigned i = 0; i < param->num_components; i++) {
        if (param->components[i].h_sampling_factor > h)
            h = param->components[i].h_sampling_factor;
        if (param->components[i].v_sampling_factor > v)
            v = param->components[i].v_sampling_factor;
    }
    return ((param->picture_width + 8 * h - 1) / (8 * h)) * ((height + 8 * v - 1) / (8 * v));
}

/*
 * Of streams by Avid, whose pictures start with lines that are not shown, FFmpeg passes the height
 * that is. Their scans are as long as the context is high.
 */
static uint32_t find_height(const struct va_picture *picture)
{
    const VAPictureParameterBufferJPEGBaseline *param = picture->param[VA_PARAM_PICTURE];
    const VASliceParameterBufferJPEGBaseline *scan = picture->slices[0].param;

    if (scan->num_components > 1 && picture->height > param->picture_height &&
        scan->num_mcus > count_mcus(param, param->picture_height) &&
        scan->num_mcus == count_mcus(param, picture->height))
        return picture->height;
    return param->picture_height;
}

/* What is in front of all scans. */
static void write_frame_header(const VAPictureParameterBufferJPEGBaseline *param, uint32_t height,
                               struct bits_writer *w)
{
    static const uint8_t adobe[] = {'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0};
    const unsigned n = param->num_components;

    bits_write(w, 16, SOI);
    if (n == 3 && param->color_space != COLOR_YUV) {
        bits_write(w, 16, APP14);
        bits_write(w, 16, 2 + sizeof(adobe));
        for (unsigned i = 0; i < sizeof(adobe); i++)
            bits_write(w, 8, adobe[i]); /* the last one: no transform */
    }
    bits_write(w, 16, SOF0);
    bits_write(w, 16, 8 + 3 * n);
    bits_write(w, 8, 8); /* P */
    bits_write(w, 16, height);
    bits_write(w, 16, param->picture_width);
    bits_write(w, 8, n);
    for (unsigned i = 0; i < n; i++) {
        /* Decoders take the components of a frame without transform as red, green, blue. */
        unsigned from = n == 3 && param->color_space == COLOR_BGR ? n - 1 - i : i;

        bits_write(w, 8, from + 1);
        bits_write(w, 4, param->components[from].h_sampling_factor);
        bits_write(w, 4, param->components[from].v_sampling_factor);
        bits_write(w, 8, param->components[from].quantiser_table_selector);
    }
}

/* Tables and header of one scan. */
static int write_scan_header(const struct state *state, struct sent *sent,
                             const VAPictureParameterBufferJPEGBaseline *param,
                             const VASliceParameterBufferJPEGBaseline *scan, struct bits_writer *w)
{
    unsigned from[MAX_COMPONENTS];

    if (scan->num_components == 0 || scan->num_components > MAX_COMPONENTS)
        return VD_ERR_PARAMETER;
    for (unsigned i = 0; i < scan->num_components; i++) {
        unsigned dc = scan->components[i].dc_table_selector;
        unsigned ac = scan->components[i].ac_table_selector;
        unsigned quantiser;
        int err;

        from[i] = 0;
        while (from[i] < param->num_components &&
               param->components[from[i]].component_id != scan->components[i].component_selector)
            from[i]++;
        if (from[i] == param->num_components || dc >= TABLE_COUNT || ac >= TABLE_COUNT)
            return VD_ERR_PARAMETER;
        quantiser = param->components[from[i]].quantiser_table_selector;
        if (!state->quantiser_known[quantiser])
            return VD_ERR_PARAMETER;
        if (!(sent->quantiser & 1u << quantiser))
            write_quantiser(w, quantiser, state->quantiser[quantiser]);
        sent->quantiser |= (uint8_t)(1u << quantiser);
        err = write_huffman_pair(state, sent, w, dc, ac);
        if (err)
            return err;
    }
    if (sent->restart_interval != scan->restart_interval) {
        bits_write(w, 16, DRI);
        bits_write(w, 16, 4);
        bits_write(w, 16, scan->restart_interval);
        sent->restart_interval = scan->restart_interval;
    }
    bits_write(w, 16, SOS);
    bits_write(w, 16, 6 + 2u * scan->num_components);
    bits_write(w, 8, scan->num_components);
    for (unsigned i = 0; i < scan->num_components; i++) {
        bits_write(w, 8, from[i] + 1);
        bits_write(w, 4, scan->components[i].dc_table_selector);
        bits_write(w, 4, scan->components[i].ac_table_selector);
    }
    bits_write(w, 8, 0);  /* Ss */
    bits_write(w, 8, 63); /* Se */
    bits_write(w, 8, 0);  /* Ah, Al */
    return w->error ? VD_ERR_LIMIT : 0;
}

/* Bytes of entropy-coded data at the start of `data` (B.1.1.5), restart markers among them. */
static uint32_t entropy_size(const uint8_t *data, uint32_t size)
{
    const uint8_t *end = data + size, *at = data;

    while (at < end && (at = memchr(at, 0xff, (size_t)(end - at)))) {
        const uint8_t *marker = at;

        while (at < end && *at == 0xff) /* any number of fill bytes may be there */
            at++;
        if (at == end || (*at != 0 && (*at < 0xd0 || *at > 0xd7)))
            return (uint32_t)(marker - data);
        at++;
    }
    return size;
}

static int check_picture(const struct va_picture *picture)
{
    const VAPictureParameterBufferJPEGBaseline *param = picture->param[VA_PARAM_PICTURE];

    if (!param || picture->slice_count == 0 || param->num_components == 0 ||
        param->num_components > MAX_COMPONENTS || param->color_space > COLOR_BGR)
        return VD_ERR_PARAMETER;
    /* No surface format has four components of this kind. */
    if (param->rotation != VA_ROTATION_NONE || param->num_components == MAX_COMPONENTS)
        return VD_ERR_UNSUPPORTED;
    for (unsigned i = 0; i < param->num_components; i++) {
        unsigned h = param->components[i].h_sampling_factor;
        unsigned v = param->components[i].v_sampling_factor;

        if (h == 0 || h > 4 || v == 0 || v > 4 ||
            param->components[i].quantiser_table_selector >= QUANTISER_COUNT)
            return VD_ERR_PARAMETER;
    }
    /* No reference ever needs it: spare the decoder a picture that no surface takes. */
    if (param->picture_width == 0 || param->picture_height == 0 ||
        param->picture_width > ((picture->width + 15) & ~15u) ||
        param->picture_height > ((picture->height + 15) & ~15u))
        return VD_ERR_RESOLUTION;
    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const VASliceParameterBufferJPEGBaseline *scan = picture->slices[i].param;

        if (scan->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
            return VD_ERR_UNSUPPORTED;
    }
    return 0;
}

static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    const VAPictureParameterBufferJPEGBaseline *param = picture->param[VA_PARAM_PICTURE];
    struct state *state = opaque;
    struct walk matrices = walk_start(picture, VA_PARAM_IQ_MATRIX);
    struct walk huffmans = walk_start(picture, VA_PARAM_HUFFMAN);
    struct sent sent = {0};
    struct bits_writer w;
    uint32_t height = 0;
    uint8_t *data = NULL, *at = NULL; /* start of the packet, end of what is there of it */
    int err = check_picture(picture);

    for (uint32_t i = 0; !err && i < picture->slice_count; i++) {
        const struct va_slice *slice = &picture->slices[i];
        uint32_t size = entropy_size(slice->data, slice->size);

        take_quantisers(state, &sent, walk_next(&matrices, picture, i == 0));
        take_huffman(state, &sent, walk_next(&huffmans, picture, i == 0));
        if (i == 0) {
            bits_write_init(&w, picture->head, BITSTREAM_HEAD_ROOM);
            height = find_height(picture);
            write_frame_header(param, height, &w);
        } else {
            bits_write_init(&w, at, (size_t)(slice->data - at));
        }
        err = write_scan_header(state, &sent, param, slice->param, &w);
        if (err)
            break;
        if (i == 0) {
            /* Its size is known only now: move it to where the slice starts. */
            data = slice->data - w.used;
            memmove(data, picture->head, w.used);
            at = slice->data;
        } else {
            at += w.used;
            memmove(at, slice->data, size);
        }
        at += size;
    }
    if (err)
        return err;
    *at++ = EOI >> 8;
    *at++ = EOI & 0xff;
    *ret_packet = (struct bitstream_packet){
        .data = data,
        .size = (size_t)(at - data),
        .flags = BITSTREAM_KEY,
        .coded_width = param->picture_width,
        .coded_height = height,
    };
    return 0;
}

const struct bitstream_builder bitstream_jpeg = {
    .name = "jpeg",
    .state_size = sizeof(struct state),
    .gap = SCAN_HEADER_ROOM,
    .build = build,
};
