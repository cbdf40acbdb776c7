/* SPDX-License-Identifier: MIT */
#include <viaduct/errors.h>

#include "av1_parts.h"

#define MAX_TILE_WIDTH 4096u
#define MAX_TILE_AREA  (4096u * 2304u)

/* tile_log2() of 5.9.16 */
static unsigned tile_log2(uint32_t block, uint32_t target)
{
    unsigned k = 0;

    while (block << k < target)
        k++;
    return k;
}

/* The log2 that gives `count` tiles along a side of `size` superblocks. */
static int write_uniform(struct bits_writer *writer, uint32_t size, uint32_t count, unsigned min,
                         unsigned *ret_log2)
{
    unsigned max = tile_log2(1, size < AV1_MAX_TILES_A_SIDE ? size : AV1_MAX_TILES_A_SIDE);

    for (unsigned k = min; k <= max || k == min; k++) {
        uint32_t tile = (size + (UINT32_C(1) << k) - 1) >> k;

        if ((size + tile - 1) / tile == count) {
            if (k < max)
                bits_write(writer, 1, 0);
            *ret_log2 = k;
            return 0;
        }
        if (k < max)
            bits_write(writer, 1, 1);
    }
    return VD_ERR_PARAMETER;
}

/* Sizes one by one; the last is what is left. */
static int write_sizes(struct bits_writer *writer, uint32_t size, uint32_t count, uint32_t most,
                       const uint16_t *minus1, uint32_t *ret_widest)
{
    uint32_t widest = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t room = size < most ? size : most;
        uint32_t tile = i + 1 < count ? minus1[i] + 1u : size;

        if (size == 0 || tile > room || (i + 1 < count && tile == size))
            return VD_ERR_PARAMETER;
        av1_parts_non_symmetric(writer, room, tile - 1);
        if (tile > widest)
            widest = tile;
        size -= tile;
    }
    *ret_widest = widest;
    return 0;
}

int av1_tile_write(struct av1_writing *h)
{
    const VADecPictureParameterBufferAV1 *param = h->param;
    unsigned shift = param->seq_info_fields.fields.use_128x128_superblock ? 7 : 6;
    uint32_t cols = (h->frame_width + 7) / 8 * 8, rows = (h->frame_height + 7) / 8 * 8;
    uint32_t sb_cols = (cols + (1u << shift) - 1) >> shift;
    uint32_t sb_rows = (rows + (1u << shift) - 1) >> shift;
    uint32_t max_width = MAX_TILE_WIDTH >> shift, max_area = MAX_TILE_AREA >> (2 * shift);
    unsigned min_cols = tile_log2(max_width, sb_cols);
    unsigned min_tiles = tile_log2(max_area, sb_cols * sb_rows);
    unsigned cols_log2, rows_log2;
    int err;

    if (min_tiles < min_cols)
        min_tiles = min_cols;
    bits_write(h->writer, 1, param->pic_info_fields.bits.uniform_tile_spacing_flag);
    if (param->pic_info_fields.bits.uniform_tile_spacing_flag) {
        err = write_uniform(h->writer, sb_cols, param->tile_cols, min_cols, &cols_log2);
        if (!err)
            err = write_uniform(h->writer, sb_rows, param->tile_rows,
                                min_tiles > cols_log2 ? min_tiles - cols_log2 : 0, &rows_log2);
    } else {
        uint32_t widest, tallest, max_height;

        err = write_sizes(h->writer, sb_cols, param->tile_cols, max_width,
                          param->width_in_sbs_minus_1, &widest);
        if (err)
            return err;
        max_area = sb_cols * sb_rows;
        if (min_tiles > 0)
            max_area >>= min_tiles + 1;
        max_height = max_area / widest > 1 ? max_area / widest : 1;
        err = write_sizes(h->writer, sb_rows, param->tile_rows, max_height,
                          param->height_in_sbs_minus_1, &tallest);
        cols_log2 = tile_log2(1, param->tile_cols);
        rows_log2 = tile_log2(1, param->tile_rows);
    }
    if (err)
        return err;
    h->frame->tile_bits = cols_log2 + rows_log2;
    if (h->frame->tile_bits > 0) {
        if (param->context_update_tile_id >= param->tile_cols * param->tile_rows)
            return VD_ERR_PARAMETER;
        bits_write(h->writer, h->frame->tile_bits, param->context_update_tile_id);
        bits_write(h->writer, 2, 3); /* tile_size_bytes_minus_1 */
    }
    return 0;
}
