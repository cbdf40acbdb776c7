/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <viaduct/errors.h>

#include "h264.h"

/*
 * From the encoder's access unit to the app's: the encoder's own parameter sets, SEI and
 * delimiters are left out, its slices get the headers that fit the app's sets. What the app's PPS
 * cannot express goes into an extra one with an id that the app does not use.
 */

#define HEADER_ROOM 1024 /* of a slice header */

/* What is needed in one access unit. */
struct rewrite {
    struct h264_write_state *state;
    const struct encode_request *request;
    const struct h264_own *own;
    struct encode_output *output;
    struct h264_pps pps; /* that the slices refer to */
    uint8_t pps_id;
    bool spare; /* it is the extra one */
    const struct h264_sps *encoder_sps;
    struct h264_picture encoder_picture;
    uint8_t encoder_pps_id;
};

/* --- what has to be the same */

/* The SPS of both sides say the same of what is in a macroblock, and how many there are. */
static bool sps_agree(const struct h264_sps *app, const struct h264_sps *encoder)
{
    return app->width == encoder->width && app->height == encoder->height &&
           encoder->frame_mbs_only && app->chroma_format == encoder->chroma_format &&
           app->depth_luma == encoder->depth_luma && app->depth_chroma == encoder->depth_chroma &&
           !encoder->transform_bypass;
}

/* Whether slices under `encoder` decode alike under `app`, deblocking aside. */
static bool pps_agree(const struct h264_pps *app, const struct h264_pps *encoder)
{
    return app->cabac == encoder->cabac && app->flat == encoder->flat &&
           app->transform_8x8 == encoder->transform_8x8 && app->cb_offset == encoder->cb_offset &&
           app->cr_offset == encoder->cr_offset &&
           app->constrained_intra == encoder->constrained_intra &&
           (app->weighted || !encoder->weighted);
}

static int max3(int a, int b, int c)
{
    int ab = a > b ? a : b;

    return ab > c ? ab : c;
}

/*
 * Without deblocking control in the PPS the filter is on, with no offsets. x264 turns it off where
 * it would change nothing (8.7.2.2: alpha is 0 up to 15), which is known only at a constant QP.
 */
static bool deblocking_agrees(const struct rewrite *rw, const struct h264_slice *slice)
{
    const struct h264_pps *app = &rw->own->pps;
    bool constant = rw->request->rate.mode == VA_RC_CQP && !rw->request->region_count;

    if (app->deblocking_control)
        return true;
    if (slice->deblocking_idc == 1)
        return constant && slice->qp + max3(0, app->cb_offset, app->cr_offset) <= 15;
    return slice->deblocking_idc == 0 && !slice->alpha && !slice->beta;
}

/* The extra PPS has what the encoder's has; the app's QP, so that nothing else changes. */
static void use_spare(struct rewrite *rw, const struct h264_pps *encoder)
{
    rw->pps = *encoder;
    rw->pps.sps_id = rw->own->pps.sps_id;
    rw->pps.init_qp = rw->own->pps.init_qp;
    rw->pps.pic_order = rw->own->pps.pic_order;
    rw->pps.deblocking_control = true;
    rw->pps.redundant = false;
    rw->pps.weighted_bipred = 0;
    rw->pps_id = rw->own->spare_pps_id;
    rw->spare = true;
}

/* --- the access unit of the encoder */

/* Whether a slice's type is one that the app's picture may have. */
static bool type_agrees(const struct rewrite *rw, const struct h264_slice *slice)
{
    if (rw->request->type == ENCODE_P)
        return true;
    return !h264_slice_is_p(slice) && (rw->request->type == ENCODE_I || slice->picture.idr);
}

static int scan_slice(struct rewrite *rw, const struct h264_slice *slice, bool first)
{
    const struct h264_pps *pps = &rw->state->sets.pps[slice->pps_id];

    if (!type_agrees(rw, slice))
        return VD_ERR_DECODE;
    if (first) {
        rw->encoder_sps = &rw->state->sets.sps[pps->sps_id];
        rw->encoder_picture = slice->picture;
        rw->encoder_pps_id = slice->pps_id;
        if (!sps_agree(&rw->own->sps, rw->encoder_sps))
            return VD_ERR_DECODE;
    } else if (slice->picture.idr != rw->encoder_picture.idr ||
               slice->picture.frame_num != rw->encoder_picture.frame_num ||
               memcmp(pps, &rw->state->sets.pps[rw->encoder_pps_id], sizeof(*pps)) != 0) {
        return VD_ERR_DECODE; /* another picture, or another PPS */
    }
    if (!pps->flat || !slice->payload)
        return VD_ERR_DECODE;
    if (!rw->spare && (!pps_agree(&rw->own->pps, pps) || !deblocking_agrees(rw, slice)))
        use_spare(rw, pps);
    return 0;
}

/* First way through the packet: sets are taken up, and it is decided which PPS will do. */
static int scan(struct rewrite *rw, struct h264_nals nals)
{
    struct h264_slice slice;
    struct h264_nal nal;
    bool first = true;

    while (h264_nal_next(&nals, &nal)) {
        unsigned type = h264_nal_type(&nal);

        if ((type >= 2 && type <= 4) || (type >= 19 && type <= 21))
            return VD_ERR_DECODE; /* partitions, auxiliary pictures, extensions */
        if (!h264_nal_is_slice(&nal)) {
            if (h264_sets_read(&rw->state->sets, &nal, NULL))
                return VD_ERR_DECODE;
            continue;
        }
        if (h264_slice_read(&rw->state->sets, &nal, &slice) || scan_slice(rw, &slice, first))
            return VD_ERR_DECODE;
        first = false;
    }
    return first ? VD_ERR_DECODE : 0;
}

/* --- the access unit of the app */

/* Where NAL units that the app sent go. What has a slice in it goes nowhere. */
enum place { PLACE_FIRST, PLACE_SETS, PLACE_SEI, PLACE_END, PLACE_NONE };

static enum place place_of(const struct h264_nal *nal)
{
    unsigned type = h264_nal_type(nal);

    switch (type) {
    case H264_NAL_AUD:
        return PLACE_FIRST;
    case H264_NAL_SPS:
    case H264_NAL_PPS:
    case 13: /* SPS extension, subset SPS, depth parameter set */
    case 15:
    case 16:
        return PLACE_SETS;
    case H264_NAL_END_OF_SEQUENCE:
    case H264_NAL_END_OF_STREAM:
    case H264_NAL_FILLER:
        return PLACE_END;
    default:
        return type <= 5 || (type >= 19 && type <= 21) ? PLACE_NONE : PLACE_SEI;
    }
}

/* Returns how many there were. */
static unsigned put_headers(struct rewrite *rw, enum place place)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < rw->request->header_count; i++) {
        const struct encode_header *header = &rw->request->headers[i];
        struct h264_nals nals = {
            .data = header->bytes, .size = (header->bits + 7) / 8, .escaped = header->escaped};
        struct h264_nal nal;

        while (h264_nal_next(&nals, &nal)) {
            if (place_of(&nal) != place || (place == PLACE_FIRST && count))
                continue;
            h264_nal_put(rw->output, &nal);
            count++;
        }
    }
    return count;
}

/* Where somebody may start to decode, and after something was lost. */
static bool random_access(const struct rewrite *rw)
{
    return rw->encoder_picture.idr || rw->request->type != ENCODE_P;
}

/* The sets that were made for the app, if somebody may need them: whether they were put out. */
static bool put_made_sets(struct rewrite *rw, bool needed)
{
    struct h264_write_state *state = rw->state;
    const struct h264_own *own = rw->own;

    if (!own->sets_size || (!needed && own->sets_size == state->sets_size &&
                            memcmp(own->sets, state->made_sets, own->sets_size) == 0))
        return false;
    encode_put(rw->output, own->sets, own->sets_size);
    memcpy(state->made_sets, own->sets, own->sets_size);
    state->sets_size = own->sets_size;
    return true;
}

/* All sets, an SPS before the PPSs that refer to it; the extra one is the last. */
static int put_sets(struct rewrite *rw)
{
    struct h264_write_state *state = rw->state;
    const struct h264_own *own = rw->own;
    bool made_sps = own->sets_size > 4 && (own->sets[4] & 0x1f) == H264_NAL_SPS;
    bool fresh = random_access(rw);
    uint8_t bytes[H264_SETS_ROOM];
    size_t size;
    int err;

    if (made_sps)
        fresh |= put_made_sets(rw, fresh);
    fresh |= put_headers(rw, PLACE_SETS) != 0;
    if (!made_sps)
        fresh |= put_made_sets(rw, fresh);
    if (!rw->spare || (!fresh && rw->pps_id == state->spare_id &&
                       memcmp(&rw->pps, &state->spare, sizeof(rw->pps)) == 0))
        return 0;
    err = h264_make_pps(&rw->pps, rw->pps_id, &own->sps, bytes, sizeof(bytes), &size);
    if (err)
        return VD_ERR_DECODE;
    encode_put(rw->output, bytes, size);
    state->spare = rw->pps;
    state->spare_id = rw->pps_id;
    return 0;
}

/*
 * The encoder's slice under the app's header. Its references are looked up by their pictures: the
 * app may have marked them otherwise than the encoder did.
 */
static int put_slice(struct rewrite *rw, const struct h264_nal *nal)
{
    struct h264_write_state *state = rw->state;
    uint32_t list[H264_MAX_REFS];
    uint8_t header[HEADER_ROOM];
    struct bits_writer writer;
    struct h264_slice slice;
    uint64_t position;
    bool p;
    int err = h264_slice_read(&state->sets, nal, &slice);

    if (err)
        return VD_ERR_DECODE;
    position = slice.bits;
    p = h264_slice_is_p(&slice);
    if (p) {
        unsigned count = h264_dpb_list(&state->encoder, rw->encoder_sps, &slice, list);

        if (!count)
            return VD_ERR_DECODE;
        slice.picture = rw->own->picture;
        err = h264_dpb_modify(&state->app, &rw->own->sps, list, count, &slice);
    }
    if (err)
        return err;
    slice.picture = rw->own->picture;
    slice.pps_id = rw->pps_id;
    bits_write_init(&writer, header, sizeof(header));
    h264_slice_write(&writer, &rw->own->sps, &rw->pps, &slice);
    if (writer.error || writer.used == sizeof(header))
        return VD_ERR_DECODE;
    h264_nal_put_slice(rw->output, &writer, nal, position, rw->pps.cabac);
    return 0;
}

static int put_slices(struct rewrite *rw, struct h264_nals nals)
{
    struct h264_nal nal;
    int err = 0;

    while (!err && h264_nal_next(&nals, &nal)) {
        if (h264_nal_is_slice(&nal))
            err = put_slice(rw, &nal);
    }
    return err;
}

static void put_end(struct rewrite *rw)
{
    static const struct {
        uint8_t flag, byte;
    } ends[] = {
        {H264_LAST_PICTURE_EOSEQ, H264_NAL_END_OF_SEQUENCE},
        {H264_LAST_PICTURE_EOSTREAM, H264_NAL_END_OF_STREAM},
    };

    if (put_headers(rw, PLACE_END))
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct h264_nal nal = {.data = &ends[i].byte, .size = 1, .escaped = true};

        if (rw->own->last_picture & ends[i].flag)
            h264_nal_put(rw->output, &nal);
    }
}

int h264_write(void *opaque, const struct encode_request *request,
               const struct encode_packet *packet, struct encode_output *output)
{
    struct h264_write_state *state = opaque;
    const struct h264_own *own = (const struct h264_own *)request->own;
    struct h264_nals nals = {.data = packet->data, .size = packet->size, .escaped = true};
    struct rewrite rw = {
        .state = state,
        .request = request,
        .own = own,
        .output = output,
        .pps = own->pps,
        .pps_id = own->pps_id,
    };
    size_t before = output->size;
    int err = scan(&rw, nals);

    if (err)
        return err;
    h264_dpb_begin(&state->encoder, rw.encoder_sps, &rw.encoder_picture);
    h264_dpb_begin(&state->app, &own->sps, &own->picture);
    put_headers(&rw, PLACE_FIRST);
    err = put_sets(&rw);
    if (err)
        goto fail;
    put_headers(&rw, PLACE_SEI);
    err = put_slices(&rw, nals);
    if (err)
        goto fail;
    put_end(&rw);
    state->serial = state->serial == UINT32_MAX ? 1 : state->serial + 1;
    h264_dpb_end(&state->encoder, rw.encoder_sps, &rw.encoder_picture, state->serial);
    h264_dpb_end(&state->app, &own->sps, &own->picture, state->serial);
    return 0;
fail:
    output->size = before;
    state->spare.valid = false;
    state->sets_size = 0;
    return err;
}
