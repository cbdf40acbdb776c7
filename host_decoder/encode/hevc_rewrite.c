/* SPDX-License-Identifier: MIT */
#include "hevc_rewrite.h"

#include <string.h>
#include <va/va.h>

#include <viaduct/errors.h>

#include "hevc_counts.h"
#include "hevc_unit.h"

static bool is_slice(enum hevc_nal nal)
{
    return nal <= HEVC_NAL_RASL_R || hevc_head_is_irap(nal);
}

static void keep_set(struct hevc_rewrite_set *set, const struct hevc_unit *unit)
{
    set->size = unit->size <= sizeof(set->data) ? unit->size : 0;
    memcpy(set->data, unit->data, set->size);
}

static int take_set(struct hevc_rewrite *state, const struct hevc_unit *unit)
{
    struct hevc_pps pps;

    switch (unit->type) {
    case HEVC_NAL_VPS:
        keep_set(&state->vps, unit);
        return 0;
    case HEVC_NAL_SPS:
        state->pps_known = 0;
        keep_set(&state->sps_set, unit);
        state->has_sps =
            hevc_sets_read_sps(unit->data, unit->size, true, state->sets, &state->sps) == 0;
        return state->has_sps ? 0 : VD_ERR_DECODE;
    default:
        if (hevc_sets_read_pps(unit->data, unit->size, true, &pps))
            return VD_ERR_DECODE;
        keep_set(&state->pps_set, unit);
        state->pps_set_id = pps.id;
        state->pps[pps.id] = pps;
        state->pps_known |= UINT64_C(1) << pps.id;
        return 0;
    }
}

static struct hevc_head_sets encoder_sets(const struct hevc_rewrite *state)
{
    return (struct hevc_head_sets){
        .pps = state->pps,
        .pps_known = state->pps_known,
        .sps = &state->sps,
        .sets = state->sets,
    };
}

static int take_slice(struct hevc_picture *p, const struct hevc_unit *unit)
{
    struct hevc_head_sets sets = encoder_sets(p->state);
    struct hevc_head head;
    unsigned used;

    if (!p->state->has_sps || hevc_head_read(unit->data, unit->size, &sets, &head))
        return VD_ERR_DECODE;
    if (p->slices++ == 0)
        p->first = head;
    /* All slices of a picture agree in these. */
    if (head.first != (p->slices == 1) || head.pps_id != p->first.pps_id ||
        hevc_head_is_irap(head.nal) != hevc_head_is_irap(p->first.nal) ||
        (p->slices == 1 && head.dependent))
        return VD_ERR_DECODE;
    p->sao |= head.sao_luma || head.sao_chroma;
    if (head.dependent || head.type == HEVC_SLICE_I)
        return 0;
    p->intra = false;
    p->temporal_mvp |= head.temporal_mvp;
    used = hevc_head_used(&p->first.set);
    /* Pictures that are shown later are none of an encoder without delay. */
    for (unsigned i = 0; i < p->first.set.after; i++) {
        if (p->first.set.used[p->first.set.before + i])
            return VD_ERR_DECODE;
    }
    for (unsigned list = 0; list < 2; list++) {
        unsigned needed = head.active[list] < used ? head.active[list] : used;

        p->refs = needed > p->refs ? needed : p->refs;
    }
    return 0;
}

/* Parameter sets of the packet, and what its slices have in common. */
static int scan(struct hevc_picture *p)
{
    struct hevc_unit_reader reader = {
        .data = p->packet->data,
        .size = p->packet->size,
        .escaped = true,
    };
    struct hevc_unit unit;
    int err = 0;

    p->intra = true;
    while (!err && hevc_unit_next(&reader, &unit)) {
        if (is_slice(unit.type)) {
            err = take_slice(p, &unit);
        } else if (unit.type >= HEVC_NAL_VPS && unit.type <= HEVC_NAL_PPS) {
            err = p->slices ? VD_ERR_DECODE : take_set(p->state, &unit);
            p->has_sets = true;
        }
    }
    return err || !p->slices ? VD_ERR_DECODE : 0;
}

/* What the data of slices is parsed and decoded with, and no slice header can say. */
static bool same_sps(const struct hevc_picture *p)
{
    const struct hevc_sps *a = &p->app->sps, *b = &p->state->sps;

    return hevc_sets_check(a) == 0 && hevc_sets_check(b) == 0 && a->width == b->width &&
           a->height == b->height && a->bit_depth_luma == b->bit_depth_luma &&
           a->chroma_format_idc == b->chroma_format_idc && a->log2_min_cb == b->log2_min_cb &&
           a->log2_ctb == b->log2_ctb && a->log2_min_tb == b->log2_min_tb &&
           a->log2_max_tb == b->log2_max_tb && a->depth_inter == b->depth_inter &&
           a->depth_intra == b->depth_intra && a->amp == b->amp &&
           a->strong_intra == b->strong_intra && (a->sao || !p->sao);
}

/* Whether all slices can be written under the app's PPS. */
static bool fits_app(const struct hevc_picture *p)
{
    struct hevc_unit_reader reader = {
        .data = p->packet->data,
        .size = p->packet->size,
        .escaped = true,
    };
    struct hevc_head_sets sets = encoder_sets(p->state);
    const struct hevc_pps *from = &p->state->pps[p->first.pps_id];
    struct hevc_unit unit;
    struct hevc_head head;

    while (hevc_unit_next(&reader, &unit)) {
        if (!is_slice(unit.type))
            continue;
        if (hevc_head_read(unit.data, unit.size, &sets, &head) ||
            !hevc_head_fits(&head, from, &p->app->pps, p->slices > 1))
            return false;
    }
    return true;
}

/* Whether the slices' PPS can be sent. */
static bool has_pps_set(const struct hevc_picture *p)
{
    return p->state->pps_set.size > 0 && p->state->pps_set_id == p->first.pps_id;
}

/* The sets that the picture is written under. */
static int choose_sets(struct hevc_picture *p)
{
    const struct hevc_app *app = p->app;
    uint8_t id = 0;

    p->pps = p->state->pps[p->first.pps_id];
    if (!app->has_sps) {
        p->sps = &p->state->sps;
        return has_pps_set(p) && p->state->sps_set.size ? 0 : VD_ERR_DECODE;
    }
    p->sps = &app->sps;
    if (!same_sps(p))
        return VD_ERR_DECODE;
    if (app->has_pps && fits_app(p)) {
        p->pps = app->pps;
        return 0;
    }
    while (id < HEVC_SETS_PPS && app->pps_ids >> id & 1)
        id++;
    if (id == HEVC_SETS_PPS || !has_pps_set(p))
        return VD_ERR_DECODE;
    p->extra = true;
    p->pps.id = id;
    p->pps.sps_id = app->sps.id;
    return 0;
}

/* Where NAL units of the app go: in this order (7.4.2.4.4), slices before SUFFIX. */
enum place { PLACE_AUD, PLACE_VPS, PLACE_SPS, PLACE_PPS, PLACE_PREFIX, PLACE_SUFFIX, PLACE_NONE };

static enum place place_of(enum hevc_nal type)
{
    switch (type) {
    case HEVC_NAL_AUD:
        return PLACE_AUD;
    case HEVC_NAL_VPS:
        return PLACE_VPS;
    case HEVC_NAL_SPS:
        return PLACE_SPS;
    case HEVC_NAL_PPS:
        return PLACE_PPS;
    case HEVC_NAL_PREFIX_SEI:
        return PLACE_PREFIX;
    case HEVC_NAL_SUFFIX_SEI:
    case HEVC_NAL_EOS:
    case HEVC_NAL_EOB:
    case HEVC_NAL_FD:
        return PLACE_SUFFIX;
    default:
        /* Slices are the encoder's; 41 to 44 and 48 to 55 come before them. */
        return (type >= 41 && type <= 44) || (type >= 48 && type <= 55) ? PLACE_PREFIX
               : type > HEVC_NAL_FD                                     ? PLACE_SUFFIX
                                                                        : PLACE_NONE;
    }
}

static void put_app(const struct encode_request *request, enum place place,
                    struct encode_output *output)
{
    for (uint32_t i = 0; i < request->header_count; i++) {
        const struct encode_header *header = &request->headers[i];
        struct hevc_unit_reader reader = {
            .data = header->bytes,
            .size = (header->bits + 7u) / 8,
            .escaped = header->escaped,
        };
        struct hevc_unit unit;

        while (hevc_unit_next(&reader, &unit)) {
            if (place_of(unit.type) == place)
                hevc_unit_put(output, &unit);
        }
    }
}

static void put_set(struct encode_output *output, const struct hevc_rewrite_set *set)
{
    struct hevc_unit unit = {.data = set->data, .size = set->size, .escaped = true};

    if (set->size)
        hevc_unit_put(output, &unit);
}

/* The encoder's PPS under an id and an SPS of the app's. */
static int put_extra(struct hevc_picture *p, struct encode_output *output)
{
    struct hevc_rewrite *state = p->state;
    uint8_t rbsp[HEVC_REWRITE_SET_BYTES + 16];
    struct hevc_unit unit = {.data = rbsp};
    struct bits_writer writer;

    if (!p->extra || (state->extra_sent && state->extra_id == p->pps.id && !p->has_sets &&
                      !p->app->has_sets && !hevc_head_is_irap(p->nal)))
        return 0;
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    if (hevc_sets_rename_pps(state->pps_set.data, state->pps_set.size, p->pps.id, p->pps.sps_id,
                             &writer))
        return VD_ERR_DECODE;
    unit.size = writer.used;
    hevc_unit_put(output, &unit);
    state->extra_sent = true;
    state->extra_id = p->pps.id;
    return 0;
}

static int put_slice(const struct hevc_picture *p, const struct hevc_unit *unit,
                     struct encode_output *output)
{
    struct hevc_head_sets sets = encoder_sets(p->state);
    uint8_t rbsp[HEVC_HEAD_ROOM];
    struct hevc_unit head_unit = {.data = rbsp};
    struct bits_writer writer;
    struct hevc_head head;

    if (hevc_head_read(unit->data, unit->size, &sets, &head))
        return VD_ERR_DECODE;
    head.nal = p->nal;
    head.no_output = p->app->no_output;
    head.pps_id = p->pps.id;
    head.set = p->set;
    head.poc_lsb = (uint32_t)p->poc;
    bits_write_init(&writer, rbsp, sizeof(rbsp));
    if (hevc_head_write(&head, p->sps, &p->pps, unit->data, &writer))
        return VD_ERR_DECODE;
    head_unit.size = writer.used;
    hevc_unit_put(output, &head_unit);
    encode_put(output, unit->data + head.data, unit->size - head.data);
    return 0;
}

static int put_slices(const struct hevc_picture *p, struct encode_output *output)
{
    struct hevc_unit_reader reader = {
        .data = p->packet->data,
        .size = p->packet->size,
        .escaped = true,
    };
    struct hevc_unit unit;
    int err = 0;

    while (!err && hevc_unit_next(&reader, &unit)) {
        if (is_slice(unit.type))
            err = put_slice(p, &unit, output);
    }
    return err;
}

static void put_end(const struct hevc_app *app, struct encode_output *output)
{
    static const uint8_t header[2][2] = {{HEVC_NAL_EOS << 1, 1}, {HEVC_NAL_EOB << 1, 1}};

    for (unsigned i = 0; i < 2; i++) {
        struct hevc_unit unit = {.data = header[i], .size = 2, .escaped = true};

        if (app->last & (i ? HEVC_LAST_PICTURE_EOSTREAM : HEVC_LAST_PICTURE_EOSEQ))
            hevc_unit_put(output, &unit);
    }
}

static int put_picture(struct hevc_picture *p, const struct encode_request *request,
                       struct encode_output *output)
{
    put_app(request, PLACE_AUD, output);
    if (p->app->has_sps) {
        put_app(request, PLACE_VPS, output);
        put_app(request, PLACE_SPS, output);
        put_app(request, PLACE_PPS, output);
    } else if (p->has_sets || hevc_head_is_irap(p->nal)) {
        put_set(output, &p->state->vps);
        put_set(output, &p->state->sps_set);
        put_set(output, &p->state->pps_set);
    }
    if (put_extra(p, output))
        return VD_ERR_DECODE;
    put_app(request, PLACE_PREFIX, output);
    if (put_slices(p, output))
        return VD_ERR_DECODE;
    put_app(request, PLACE_SUFFIX, output);
    put_end(p->app, output);
    return 0;
}

int hevc_rewrite_write(void *state, const struct encode_request *request,
                       const struct encode_packet *packet, struct encode_output *output)
{
    struct hevc_app app;
    struct hevc_picture p = {.state = state, .app = &app, .packet = packet};
    size_t size = output->size;

    memcpy(&app, request->own, sizeof(app));
    if (scan(&p) || choose_sets(&p) || hevc_counts_name(&p) || hevc_counts_set(&p))
        return VD_ERR_DECODE;
    if (put_picture(&p, request, output)) {
        output->size = size;
        p.state->extra_sent = false;
        return VD_ERR_DECODE;
    }
    hevc_counts_done(&p);
    return 0;
}
