/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "internal.h"

/* Inputs, outputs, pairs; and bytes of texts. More is no model. */
#define INFO_MOST_ROWS  100000u
#define INFO_MOST_TEXTS (64u << 20)

struct reader {
    const uint8_t *texts;
    uint64_t text_size;
    char *out; /* NULL: only counts */
    uint64_t at;
};

/* The text of a pair of offset and length: terminated, in `out`. False if it is not there. */
static bool read_text(struct reader *r, const uint32_t *at, const char **ret_text)
{
    if (at[0] > r->text_size || at[1] > r->text_size - at[0] || r->at + at[1] > INFO_MOST_TEXTS)
        return false;
    if (r->out) {
        memcpy(r->out + r->at, r->texts + at[0], at[1]);
        r->out[r->at + at[1]] = 0;
        *ret_text = r->out + r->at;
    }
    r->at += at[1] + 1u;
    return true;
}

static bool read_io(struct reader *r, const struct vd_npu_io *io, struct npu_io *ret)
{
    bool map = io->kind == VD_NPU_MAP || io->kind == VD_NPU_MAPS;

    if ((io->kind > VD_NPU_OTHER && !map) || io->kind == VD_NPU_NONE ||
        (io->flags & ~VD_NPU_IO_FLAGS) || (io->rank > NPU_MAX_RANK && io->rank != VD_NPU_ANY_RANK))
        return false;
    *ret = (struct npu_io){
        .kind = (enum npu_kind)io->kind,
        .optional = io->flags & VD_NPU_IO_OPTIONAL,
        .dtype = (int)io->dtype,
        .rank = io->rank == VD_NPU_ANY_RANK ? -1 : (int)io->rank,
    };
    memcpy(ret->dims, io->dims, sizeof(ret->dims));
    if (map) {
        ret->key = (int)io->dims[0];
        ret->dims[0] = 0;
    }
    if (!read_text(r, io->name, &ret->name))
        return false;
    for (int i = 0; i < ret->rank; i++) {
        const uint32_t *symbol = io->symbols + 2 * (size_t)i;

        if (ret->dims[i] < -1 || (symbol[1] && !read_text(r, symbol, &ret->symbols[i])))
            return false;
    }
    return true;
}

/* One pass; the first, without `out`, tells how many bytes of texts there are. */
static bool read_all(struct npu_model *model, const struct vd_npu_info *info, const uint8_t *rows,
                     struct reader *r)
{
    struct npu_info *to = &model->info;
    uint32_t ios = info->inputs + info->outputs;

    for (uint32_t i = 0; i < ios; i++) {
        struct vd_npu_io io;

        memcpy(&io, rows + i * sizeof(io), sizeof(io));
        if (!read_io(r, &io, &model->rows[i]))
            return false;
    }
    rows += ios * sizeof(struct vd_npu_io);
    for (uint32_t i = 0; i < 2 * info->pairs; i++) {
        struct vd_npu_text text;

        memcpy(&text, rows + i * sizeof(text), sizeof(text));
        if (!read_text(r, text.at, &model->pairs[i / 2 + (i % 2 ? info->pairs : 0)]))
            return false;
    }
    return read_text(r, info->producer, &to->producer) && read_text(r, info->domain, &to->domain) &&
           read_text(r, info->description, &to->description) &&
           read_text(r, info->graph, &to->graph) && read_text(r, info->placement, &to->placement);
}

int client_info_read(struct npu_model *model, const uint8_t *bytes, uint64_t size)
{
    struct reader r = {0};
    struct vd_npu_info info;
    uint64_t rows;

    if (size < sizeof(info))
        return VD_ERR_PROTOCOL;
    memcpy(&info, bytes, sizeof(info));
    if (info.inputs > INFO_MOST_ROWS || info.outputs > INFO_MOST_ROWS ||
        info.pairs > INFO_MOST_ROWS)
        return VD_ERR_PROTOCOL;
    rows = (uint64_t)(info.inputs + info.outputs) * sizeof(struct vd_npu_io) +
           2 * (uint64_t)info.pairs * sizeof(struct vd_npu_text);
    if (size - sizeof(info) < rows || info.texts != size - sizeof(info) - rows)
        return VD_ERR_PROTOCOL;
    r.texts = bytes + sizeof(info) + rows;
    r.text_size = info.texts;
    model->rows = calloc(info.inputs + info.outputs + 1, sizeof(*model->rows));
    model->pairs = calloc(2 * (size_t)info.pairs + 1, sizeof(*model->pairs));
    if (!model->rows || !model->pairs)
        return VD_ERR_MEMORY;
    if (!read_all(model, &info, bytes + sizeof(info), &r))
        return VD_ERR_PROTOCOL;
    model->texts = malloc(r.at + 1);
    if (!model->texts)
        return VD_ERR_MEMORY;
    r.at = 0;
    r.out = model->texts;
    if (!read_all(model, &info, bytes + sizeof(info), &r))
        return VD_ERR_PROTOCOL;
    model->info.inputs = model->rows;
    model->info.outputs = model->rows + info.inputs;
    model->info.input_count = info.inputs;
    model->info.output_count = info.outputs;
    model->info.device = model->device;
    model->info.reason = model->reason;
    model->info.version = (int64_t)info.version;
    model->info.node_count = info.nodes;
    model->info.pair_count = info.pairs;
    model->info.keys = model->pairs;
    model->info.values = model->pairs + info.pairs;
    return 0;
}
