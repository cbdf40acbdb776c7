/* SPDX-License-Identifier: MIT */
#include "hevc_rewrite.h"

#include <string.h>
#include <va/va.h>

#include <viaduct/errors.h>

#include "hevc_unit.h"

/* One picture on its way. */
struct picture {
    struct hevc_rewrite *state;
    const struct hevc_app *app;
    const struct encode_packet *packet;
    struct hevc_head first; /* header of its first slice */
    bool has_sets;          /* the packet brings parameter sets */
    /* Of all slices: */
    unsigned slices;
    bool intra, sao, temporal_mvp;
    unsigned refs; /* that are needed, of those the encoder counts as used */
    /* How it is written: */
    const struct hevc_sps *sps;
    struct hevc_pps pps;
    bool extra; /* the PPS is one more than the app knows */
    enum hevc_nal nal;
    int32_t encoder_poc, poc;
    struct hevc_set set;
};

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

static int take_slice(struct picture *p, const struct hevc_unit *unit)
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
    for (unsigned list = 0; list < 2; list++) {
        unsigned needed = head.active[list] < used ? head.active[list] : used;

        p->refs = needed > p->refs ? needed : p->refs;
    }
    return 0;
}

/* Parameter sets of the packet, and what its slices have in common. */
static int scan(struct picture *p)
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
static bool same_sps(const struct picture *p)
{
    const struct hevc_sps *a = &p->app->sps, *b = &p->state->sps;

    return hevc_sets_check(a) == 0 && hevc_sets_check(b) == 0 && a->width == b->width &&
           a->height == b->height && a->bit_depth_luma == b->bit_depth_luma &&
           a->log2_min_cb == b->log2_min_cb && a->log2_ctb == b->log2_ctb &&
           a->log2_min_tb == b->log2_min_tb && a->log2_max_tb == b->log2_max_tb &&
           a->depth_inter == b->depth_inter && a->depth_intra == b->depth_intra &&
           a->amp == b->amp && a->strong_intra == b->strong_intra && (a->sao || !p->sao);
}

/* Whether all slices can be written under the app's PPS. */
static bool fits_app(const struct picture *p)
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

/* The sets that the picture is written under. */
static int choose_sets(struct picture *p)
{
    const struct hevc_app *app = p->app;
    uint8_t id = 0;

    p->pps = p->state->pps[p->first.pps_id];
    if (!app->has_sps) {
        p->sps = &p->state->sps;
        return 0;
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
    if (id == HEVC_SETS_PPS || !p->state->pps_set.size)
        return VD_ERR_DECODE;
    p->extra = true;
    p->pps.id = id;
    p->pps.sps_id = app->sps.id;
    return 0;
}

/* 8.3.1, in the encoder's stream. */
static int32_t derive_poc(const struct hevc_rewrite *state, const struct hevc_head *head)
{
    int32_t range = INT32_C(1) << state->sps.log2_poc_lsb;
    int32_t previous = state->encoder_poc & (range - 1), lsb = (int32_t)head->poc_lsb;
    int64_t msb = (int64_t)state->encoder_poc - previous;

    if (hevc_head_is_idr(head->nal))
        return 0;
    if (hevc_head_is_irap(head->nal) && head->nal != HEVC_NAL_CRA)
        msb = 0;
    else if (lsb < previous && previous - lsb >= range / 2)
        msb += range;
    else if (lsb > previous && lsb - previous > range / 2)
        msb -= range;
    return (int32_t)(msb + lsb);
}

/*
 * The app's count, as far as its steps are ones that decoders can follow. There are no B pictures,
 * so it only grows.
 */
static int32_t next_poc(const struct picture *p)
{
    const struct hevc_rewrite *state = p->state;
    int64_t step = (int64_t)p->app->poc - state->app_poc;
    int64_t most = (INT64_C(1) << (p->sps->log2_poc_lsb - 1)) - 1;

    if (step < 1 || step > most)
        step = 1;
    return (int32_t)(((int64_t)state->poc + step) & INT32_MAX);
}

/* Whether the first picture that is used is the one before. */
static bool refers_to_last(const struct picture *p)
{
    const struct hevc_set *set = &p->first.set;
    unsigned i = 0;

    while (i < set->before && !set->used[i])
        i++;
    return i < set->before && p->state->ref_count > 0 &&
           (int64_t)p->encoder_poc + set->delta[i] == p->state->ref[0].encoder_poc;
}

/*
 * Vectors are scaled by counts: temporal ones, and those to different pictures. They come out the
 * same if both streams count alike, or if each picture refers to the one before, always so many
 * counts away: then nothing is scaled.
 */
static int check_vectors(struct picture *p)
{
    struct hevc_rewrite *state = p->state;
    int64_t encoder_step, step;

    if ((int64_t)p->poc - p->encoder_poc != state->shift)
        state->counts_alike = false;
    if (p->refs > 1 || (p->refs == 1 && !refers_to_last(p)))
        state->steady = false;
    if (state->ref_count > 0) {
        encoder_step = (int64_t)p->encoder_poc - state->ref[0].encoder_poc;
        step = (int64_t)p->poc - state->ref[0].poc;
        if (state->step == 0) {
            state->encoder_step = encoder_step;
            state->step = step;
        }
        if (encoder_step != state->encoder_step || step != state->step)
            state->steady = false;
    }
    if (p->temporal_mvp && (!p->sps->temporal_mvp || (!state->counts_alike && !state->steady)))
        return VD_ERR_DECODE;
    return p->refs > 1 && !state->counts_alike ? VD_ERR_DECODE : 0;
}

/* What the picture is called in the new stream. */
static int name_picture(struct picture *p)
{
    struct hevc_rewrite *state = p->state;

    p->nal = p->app->nal;
    if (hevc_head_is_irap(p->nal) && !p->intra)
        return VD_ERR_DECODE;
    p->encoder_poc = derive_poc(state, &p->first);
    p->poc = hevc_head_is_idr(p->nal) ? 0 : next_poc(p);
    /* Neither the encoder nor the app can mean anything from before. */
    if (hevc_head_is_idr(p->nal) || hevc_head_is_idr(p->first.nal)) {
        state->ref_count = 0;
        state->shift = (int64_t)p->poc - p->encoder_poc;
        state->counts_alike = state->steady = true;
        state->step = state->encoder_step = 0;
    }
    return check_vectors(p);
}

static const struct hevc_rewrite_ref *find_ref(const struct hevc_rewrite *state, int64_t poc)
{
    for (unsigned i = 0; i < state->ref_count; i++) {
        if (state->ref[i].encoder_poc == poc)
            return &state->ref[i];
    }
    return NULL;
}

/*
 * The encoder's set in the new counts: what it refers to, and as much of what it may refer to later
 * as the app's SPS lets decoders keep.
 */
static int make_set(struct picture *p)
{
    struct hevc_rewrite *state = p->state;
    const struct hevc_set *from = &p->first.set;
    unsigned used = 0, spare = p->sps->dpb > p->refs ? p->sps->dpb - p->refs : 0;
    struct hevc_rewrite_ref kept[HEVC_REWRITE_REFS];
    int32_t last = 0;

    for (unsigned i = 0; i < from->before; i++) {
        const struct hevc_rewrite_ref *ref =
            find_ref(state, (int64_t)p->encoder_poc + from->delta[i]);
        bool needed = from->used[i] && used < p->refs;
        int64_t delta = ref ? (int64_t)ref->poc - p->poc : 0;

        if (needed)
            used++;
        else if (spare == 0 || !ref)
            continue;
        else
            spare--;
        if (!ref || delta >= last || last - delta > INT32_C(1) << 15)
            return VD_ERR_DECODE;
        last = (int32_t)delta;
        p->set.delta[p->set.before] = last;
        p->set.used[p->set.before] = needed;
        kept[p->set.before++] = *ref;
    }
    /* Pictures that are shown later are none of an encoder without delay. */
    if (used < p->refs)
        return VD_ERR_DECODE;
    memcpy(state->ref, kept, p->set.before * sizeof(kept[0]));
    state->ref_count = p->set.before;
    return 0;
}

/* The picture is one that later ones can refer to. */
static void remember(struct picture *p)
{
    struct hevc_rewrite *state = p->state;
    bool sub_layer_non_reference = p->first.nal < HEVC_NAL_BLA_W_LP && p->first.nal % 2 == 0;

    if (!sub_layer_non_reference)
        state->encoder_poc = p->encoder_poc;
    state->poc = p->poc;
    state->app_poc = p->app->poc;
    if (state->ref_count == HEVC_REWRITE_REFS)
        state->ref_count--;
    memmove(&state->ref[1], &state->ref[0], state->ref_count * sizeof(state->ref[0]));
    state->ref[0] = (struct hevc_rewrite_ref){.encoder_poc = p->encoder_poc, .poc = p->poc};
    state->ref_count++;
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
static int put_extra(struct picture *p, struct encode_output *output)
{
    struct hevc_rewrite *state = p->state;
    uint8_t rbsp[HEVC_REWRITE_SET_BYTES + 16];
    struct hevc_unit unit = {.data = rbsp};
    struct bits_writer writer;
    struct hevc_pps pps;

    if (!p->extra || (state->extra_sent && state->extra_id == p->pps.id && !p->has_sets &&
                      !p->app->has_sets && !hevc_head_is_irap(p->nal)))
        return 0;
    /* Of several, the last one was kept. */
    if (hevc_sets_read_pps(state->pps_set.data, state->pps_set.size, true, &pps) ||
        pps.id != p->first.pps_id)
        return VD_ERR_DECODE;
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

static int put_slice(const struct picture *p, const struct hevc_unit *unit,
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

static int put_slices(const struct picture *p, struct encode_output *output)
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

int hevc_rewrite_write(void *state, const struct encode_request *request,
                       const struct encode_packet *packet, struct encode_output *output)
{
    struct hevc_app app;
    struct picture p = {.state = state, .app = &app, .packet = packet};

    memcpy(&app, request->own, sizeof(app));
    if (scan(&p) || choose_sets(&p) || name_picture(&p) || make_set(&p))
        return VD_ERR_DECODE;
    put_app(request, PLACE_AUD, output);
    put_app(request, PLACE_VPS, output);
    put_app(request, PLACE_SPS, output);
    put_app(request, PLACE_PPS, output);
    if (!app.has_sps && (p.has_sets || hevc_head_is_irap(p.nal))) {
        put_set(output, &p.state->vps);
        put_set(output, &p.state->sps_set);
        put_set(output, &p.state->pps_set);
    }
    if (put_extra(&p, output))
        return VD_ERR_DECODE;
    put_app(request, PLACE_PREFIX, output);
    if (put_slices(&p, output))
        return VD_ERR_DECODE;
    put_app(request, PLACE_SUFFIX, output);
    put_end(&app, output);
    remember(&p);
    return 0;
}
