/* SPDX-License-Identifier: MIT */
#include "bitstream.h"

#include <stdbool.h>
#include <string.h>

#include <va/va.h>

#include <viaduct/errors.h>

#include "hevc_ps.h"
#include "hevc_rps.h"
#include "hevc_slice.h"

/*
 * H.265: slices arrive whole, from their NAL unit header on; VPS, SPS and PPS are missing. They
 * are written anew from the VA structs, and sent only when their bytes are not what the decoder
 * has.
 *
 * Reference picture sets of the SPS are not in VA, only what they mean for the picture at hand,
 * and an SPS cannot change with each picture. So slice headers get a set of their own instead
 * (hevc_rps.c, hevc_slice.c). Payloads are neither read nor moved.
 *
 * Pictures that lead an IRAP picture and refer to what came before it (RASL) are dropped by
 * decoders that start there. Apps drop them, too: one that arrives is wanted, and goes on as a
 * leading picture of the other kind (RADL).
 */

#define PPS_COUNT 4 /* PPSs known at a time; streams switch between two at most */

struct sent_pps {
    uint32_t id;
    size_t size; /* 0: this place is free */
    uint8_t bytes[HEVC_PPS_ROOM];
};

struct state {
    uint8_t sps[HEVC_SPS_ROOM]; /* as last sent */
    size_t sps_size;
    struct sent_pps pps[PPS_COUNT];
    unsigned pps_next;           /* the place to give away next */
    VAIQMatrixBufferHEVC matrix; /* the last one: it holds until another one comes */
    bool matrix_known;
    struct hevc_dpb dpb;
};

static const uint8_t start_code[BITSTREAM_SLICE_GAP] = {0, 0, 0, 1};
static const uint8_t end_of_sequence[] = {0, 0, 0, 1, 36 << 1, 1};

/* Length of the start code that some apps leave in front of the NAL unit, 0 if there is none. */
static uint32_t start_code_size(const struct va_slice *slice)
{
    uint32_t zeros = 0;

    while (zeros < slice->size && slice->data[zeros] == 0)
        zeros++;
    return zeros >= 2 && zeros < slice->size && slice->data[zeros] == 1 ? zeros + 1 : 0;
}

/* Decoders skip it. */
static void make_filler(uint8_t *nal, uint32_t size)
{
    const uint8_t header[2] = {HEVC_NAL_FD << 1, 1};

    memcpy(nal, header, size < sizeof(header) ? size : sizeof(header));
}

/*
 * What VA does not tell of long-term references: their order. It matters where a list has them,
 * and there VA says which picture it is (8.3.4: RefPicListTemp0 and 1 both end with
 * RefPicSetLtCurr).
 */
static void learn_order(const struct hevc_slice *slice, const VASliceParameterBufferHEVC *param,
                        const struct hevc_rps *rps, unsigned *order)
{
    unsigned short_term = rps->total_curr;

    if (rps->long_term < 2)
        return;
    for (unsigned i = rps->before + rps->after; i < rps->before + rps->after + rps->long_term; i++)
        short_term -= rps->ref[i].used;
    for (unsigned list = 0; list < 2; list++) {
        for (unsigned i = 0; i < slice->active[list]; i++) {
            unsigned entry = slice->modified[list] ? slice->entry[list][i] : i % rps->total_curr;

            if (entry >= short_term && entry < rps->total_curr)
                order[entry - short_term] = param->RefPicList[list][i];
        }
    }
}

/*
 * Looks at all slices before one is changed. `ret_first` is the first that is good; those that
 * are not become filler data, so that the others still are decoded.
 */
static int scan_slices(const struct va_picture *picture, const struct hevc_params *params,
                       const struct hevc_dpb *dpb, struct hevc_slice *ret_first,
                       struct hevc_rps *ret_rps)
{
    unsigned order[HEVC_REFS];
    bool found = false;

    for (unsigned i = 0; i < HEVC_REFS; i++)
        order[i] = HEVC_REFS;
    for (uint32_t i = 0; i < picture->slice_count; i++) {
        const struct va_slice *slice = &picture->slices[i];
        const VASliceParameterBufferHEVC *param = slice->param;
        uint32_t start = start_code_size(slice), size = slice->size - start;
        uint8_t *nal = slice->data + start;
        struct hevc_slice header;
        int err;

        /* Slices in pieces would have to be moved together; no known app sends them. */
        if (param->slice_data_flag != VA_SLICE_DATA_FLAG_ALL)
            return VD_ERR_UNSUPPORTED;
        err = hevc_slice_read_start(nal, size, &header);
        if (!err && !found) {
            err = hevc_rps_derive(dpb, params->picture, header.nal, ret_rps);
            if (err)
                return err;
        }
        if (!err)
            err = hevc_slice_read(nal, size, params, ret_rps->total_curr, &header);
        /* 7.4.2.2: all slices of a picture are of one type. */
        if (!err && found && header.nal != ret_first->nal)
            err = VD_ERR_DECODE;
        if (err == VD_ERR_UNSUPPORTED)
            return err;
        if (err) {
            make_filler(nal, size);
            continue;
        }
        if (!found)
            *ret_first = header;
        found = true;
        learn_order(&header, param, ret_rps, order);
    }
    if (!found)
        return VD_ERR_DECODE;
    hevc_rps_order_long_term(ret_rps, order);
    return 0;
}

/*
 * Puts the start code and, where it changes, the header of a slice in front of its payload. What
 * stays free of the gap is zeros, which Annex B allows between NAL units.
 */
static int place_slice(const struct va_slice *slice, const struct hevc_params *params,
                       const struct hevc_rps *rps, uint8_t **ret_start)
{
    uint32_t start = start_code_size(slice), size = slice->size - start;
    uint8_t *gap = slice->data - HEVC_SLICE_GROWTH;
    uint8_t *nal = slice->data + start, *at = nal - sizeof(start_code);
    struct hevc_slice header = {0};
    int err;

    if (size < 2) {
        memset(gap, 0, HEVC_SLICE_GROWTH + slice->size);
        *ret_start = slice->data;
        return 0;
    }
    /* Filler data is no slice, and has no set. */
    if (hevc_slice_read(nal, size, params, rps->total_curr, &header) || header.payload == 0) {
        memcpy(at, start_code, sizeof(start_code));
    } else {
        uint8_t *payload = nal + header.payload;
        size_t written;

        err = hevc_slice_write(&header, nal, rps, gap, (size_t)(payload - gap), &written);
        if (err)
            return err;
        at = payload - written;
        memmove(at, gap, written);
    }
    if (header.nal == HEVC_NAL_RASL_N || header.nal == HEVC_NAL_RASL_R)
        at[sizeof(start_code)] -= (HEVC_NAL_RASL_N - HEVC_NAL_RADL_N) << 1;
    memset(gap, 0, (size_t)(at - gap));
    *ret_start = at;
    return 0;
}

/* After this the decoder counts as having nothing. */
static void forget_sent(struct state *state)
{
    state->sps_size = 0;
    for (unsigned i = 0; i < PPS_COUNT; i++)
        state->pps[i].size = 0;
}

/* Whether the decoder has just these bytes as its PPS `id`; if not, it has from now on. */
static bool is_known(struct state *state, uint32_t id, const uint8_t *bytes, size_t size)
{
    struct sent_pps *pps = NULL;

    for (unsigned i = 0; i < PPS_COUNT && !pps; i++) {
        if (state->pps[i].size != 0 && state->pps[i].id == id)
            pps = &state->pps[i];
    }
    if (pps && pps->size == size && memcmp(pps->bytes, bytes, size) == 0)
        return true;
    if (!pps) {
        pps = &state->pps[state->pps_next];
        state->pps_next = (state->pps_next + 1) % PPS_COUNT;
    }
    pps->id = id;
    pps->size = size;
    memcpy(pps->bytes, bytes, size);
    return false;
}

/* Writes what the decoder lacks to the front of `head`. */
static int write_headers(struct state *state, const struct hevc_params *params, uint32_t pps_id,
                         bool sequence_ends, uint8_t *head, size_t *ret_size)
{
    size_t used = 0, size;
    int err;

    if (sequence_ends) {
        memcpy(head, end_of_sequence, sizeof(end_of_sequence));
        used = sizeof(end_of_sequence);
    }
    err = hevc_ps_write_sps(params, head + used, HEVC_SPS_ROOM, &size);
    if (err)
        return err;
    if (size != state->sps_size || memcmp(head + used, state->sps, size) != 0) {
        /* A PPS belongs to the SPS that was there when it came: send all of them again. */
        forget_sent(state);
        memcpy(state->sps, head + used, size);
        state->sps_size = size;
        err = hevc_ps_write_vps(params, head + used, HEVC_VPS_ROOM, &size);
        if (err)
            goto fail;
        used += size;
        memcpy(head + used, state->sps, state->sps_size);
        used += state->sps_size;
    }
    err = hevc_ps_write_pps(params, pps_id, head + used, HEVC_PPS_ROOM, &size);
    if (err)
        goto fail;
    if (!is_known(state, pps_id, head + used, size))
        used += size;
    *ret_size = used;
    return 0;
fail:
    /* None of this reaches the decoder. */
    forget_sent(state);
    return err;
}

static bool is_irap(enum hevc_nal nal)
{
    return nal >= HEVC_NAL_BLA_W_LP && nal <= HEVC_NAL_CRA;
}

static int build(void *opaque, const struct va_picture *picture,
                 struct bitstream_packet *ret_packet)
{
    struct state *state = opaque;
    const VAPictureParameterBufferHEVC *param = picture->param[VA_PARAM_PICTURE];
    const VAIQMatrixBufferHEVC *matrix = picture->param[VA_PARAM_IQ_MATRIX];
    struct hevc_params params = {.profile = picture->profile, .picture = param};
    const struct va_slice *last;
    struct hevc_slice first = {0};
    struct hevc_rps rps = {0};
    uint8_t *data = NULL;
    size_t size;
    bool sequence_ends;
    int err;

    if (!param || picture->slice_count == 0)
        return VD_ERR_PARAMETER;
    if (picture->param_size[VA_PARAM_PICTURE] >= sizeof(VAPictureParameterBufferHEVCExtension))
        params.rext = &((const VAPictureParameterBufferHEVCExtension *)(const void *)param)->rext;
    params.matrix = matrix || !state->matrix_known ? matrix : &state->matrix;
    err = hevc_ps_check(&params);
    if (err)
        return err;
    err = scan_slices(picture, &params, &state->dpb, &first, &rps);
    if (err)
        return err;
    for (uint32_t i = picture->slice_count; i-- > 0;) {
        err = place_slice(&picture->slices[i], &params, &rps, &data);
        if (err)
            return err;
    }
    /* IDR and BLA pictures end the sequence before them by themselves. */
    sequence_ends = rps.new_sequence && state->dpb.count > 0 &&
                    (!is_irap(first.nal) || first.nal == HEVC_NAL_CRA);
    err = write_headers(state, &params, first.pps_id, sequence_ends, picture->head, &size);
    if (err)
        return err;
    hevc_rps_commit(&state->dpb, param, first.nal, first.temporal_id, &rps);
    if (matrix) {
        state->matrix = *matrix;
        state->matrix_known = true;
    }

    /* Their size is known only now: move them to where the first slice starts. */
    data -= size;
    memmove(data, picture->head, size);
    last = &picture->slices[picture->slice_count - 1];
    *ret_packet = (struct bitstream_packet){
        .data = data,
        .size = (size_t)(last->data + last->size - data),
        .flags = is_irap(first.nal) ? BITSTREAM_KEY : 0,
        .coded_width = param->pic_width_in_luma_samples,
        .coded_height = param->pic_height_in_luma_samples,
    };
    return 0;
}

const struct bitstream_builder bitstream_hevc = {
    .name = "hevc",
    .state_size = sizeof(struct state),
    .gap = HEVC_SLICE_GROWTH,
    .build = build,
};
