/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <va/va.h>
#include <va/va_dec_jpeg.h>

#include "bitstream/bitstream.h"

/*
 * Runs the JPEG builder over a few pictures with the state kept between them, in memory of exactly
 * the size that the dispatcher gives it.
 *
 * Input, a picture: flags, number of scans, of tables of each kind, sizes, then structs and scans.
 */

#define MAX_PICTURES   4
#define MAX_SCANS      5
#define MAX_TABLES     5
#define MAX_SCAN_BYTES 64

enum {
    RESET = 1,
    SANE = 2, /* the fields that are refused most often are put right */
};

struct tables {
    VAIQMatrixBufferJPEGBaseline matrix[MAX_TABLES];
    VAHuffmanTableBufferJPEGBaseline huffman[MAX_TABLES];
    struct va_copy copies[2 * MAX_TABLES + 1];
    uint32_t count;
};

static void *zeroed(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    if (!memory)
        abort();
    return memory;
}

/* Few bytes make a table: its lengths, then values that repeat. */
static void take_tables(struct fuzz_input *input, struct tables *t, uint8_t flags)
{
    unsigned matrices = fuzz_byte(input) % (MAX_TABLES + 1);
    unsigned huffmans = fuzz_byte(input) % (MAX_TABLES + 1);

    for (unsigned i = 0; i < matrices; i++) {
        fuzz_take(input, t->matrix[i].load_quantiser_table, 4);
        memset(t->matrix[i].quantiser_table, fuzz_byte(input), 256);
        t->copies[t->count++] =
            (struct va_copy){.slot = VA_PARAM_IQ_MATRIX, .param = &t->matrix[i]};
    }
    for (unsigned i = 0; i < huffmans; i++) {
        VAHuffmanTableBufferJPEGBaseline *h = &t->huffman[i];

        for (unsigned j = 0; j < 2; j++) {
            h->load_huffman_table[j] = fuzz_byte(input);
            fuzz_take(input, h->huffman_table[j].num_dc_codes, 16);
            fuzz_take(input, h->huffman_table[j].num_ac_codes, 16);
            for (unsigned k = 0; flags & SANE && k < 16; k++) {
                h->huffman_table[j].num_dc_codes[k] %= 2;
                h->huffman_table[j].num_ac_codes[k] %= 17;
            }
            memset(h->huffman_table[j].dc_values, fuzz_byte(input), 12);
            memset(h->huffman_table[j].ac_values, fuzz_byte(input), 162);
        }
        t->copies[t->count++] = (struct va_copy){.slot = VA_PARAM_HUFFMAN, .param = h};
    }
}

static void take_picture(struct fuzz_input *input, VAPictureParameterBufferJPEGBaseline *param,
                         uint8_t flags)
{
    param->picture_width = fuzz_word(input);
    param->picture_height = fuzz_word(input);
    fuzz_take(input, param->components, 5 * sizeof(param->components[0]));
    param->num_components = fuzz_byte(input);
    param->color_space = fuzz_byte(input);
    param->rotation = fuzz_byte(input);
    if (!(flags & SANE))
        return;
    param->picture_width %= 600;
    param->picture_height %= 600;
    param->num_components = (uint8_t)(1 + param->num_components % 4);
    param->color_space %= 3;
    param->rotation = 0;
    for (unsigned i = 0; i < 4; i++) {
        param->components[i].component_id %= 4;
        param->components[i].h_sampling_factor = 1 + param->components[i].h_sampling_factor % 4;
        param->components[i].v_sampling_factor = 1 + param->components[i].v_sampling_factor % 4;
        param->components[i].quantiser_table_selector %= 4;
    }
}

static void take_scan(struct fuzz_input *input, VASliceParameterBufferJPEGBaseline *scan,
                      uint8_t flags)
{
    fuzz_take(input, scan->components, sizeof(scan->components));
    scan->num_components = fuzz_byte(input);
    scan->restart_interval = fuzz_word(input);
    scan->num_mcus = fuzz_word(input);
    scan->slice_data_flag = fuzz_byte(input) >> 7;
    if (!(flags & SANE))
        return;
    scan->slice_data_flag = VA_SLICE_DATA_FLAG_ALL;
    scan->num_components = (uint8_t)(1 + scan->num_components % 4);
    for (unsigned i = 0; i < 4; i++) {
        scan->components[i].component_selector %= 4;
        scan->components[i].dc_table_selector %= 2;
        scan->components[i].ac_table_selector %= 2;
    }
}

/* The packet must lie in the block, and start and end as a JPEG does. */
static void check(const struct bitstream_packet *packet, const uint8_t *block, size_t size)
{
    const uint8_t *end = packet->data + packet->size;
    uint8_t *copy;

    if (packet->data < block || packet->size < 4 || end > block + size ||
        memcmp(packet->data, "\xff\xd8", 2) != 0 || memcmp(end - 2, "\xff\xd9", 2) != 0 ||
        packet->coded_width == 0 || packet->coded_height == 0)
        abort();
    copy = zeroed(packet->size);
    memcpy(copy, packet->data, packet->size);
    free(copy);
}

static void run_picture(struct fuzz_input *input, void *state)
{
    uint8_t flags = fuzz_byte(input), count = fuzz_byte(input) % (MAX_SCANS + 1);
    struct va_slice *slices = zeroed(count * sizeof(*slices));
    VAPictureParameterBufferJPEGBaseline *param = zeroed(sizeof(*param));
    struct tables *tables = zeroed(sizeof(*tables));
    struct va_picture picture = {.slices = slices, .slice_count = count};
    size_t size = BITSTREAM_HEAD_ROOM + BITSTREAM_TAIL_ROOM, at = BITSTREAM_HEAD_ROOM;
    struct bitstream_packet packet;
    uint8_t *block;

    if (flags & RESET)
        memset(state, 0, bitstream_jpeg.state_size);
    picture.width = fuzz_byte(input) * 32u;
    picture.height = fuzz_byte(input) * 32u;
    take_picture(input, param, flags);
    take_tables(input, tables, flags);
    tables->copies[tables->count++] = (struct va_copy){.slot = VA_PARAM_PICTURE, .param = param};
    for (uint32_t i = 0; i < tables->count; i++)
        picture.param[tables->copies[i].slot] = tables->copies[i].param;
    picture.copies = tables->copies;
    picture.copy_count = tables->count;
    for (uint8_t i = 0; i < count; i++) {
        VASliceParameterBufferJPEGBaseline *scan = zeroed(sizeof(*scan));

        take_scan(input, scan, flags);
        slices[i].param = scan;
        slices[i].size = fuzz_byte(input) % (MAX_SCAN_BYTES + 1);
        size += bitstream_jpeg.gap + slices[i].size;
    }
    block = zeroed(size);
    memset(block, 0xee, size);
    for (uint8_t i = 0; i < count; i++) {
        at += bitstream_jpeg.gap;
        slices[i].data = block + at;
        fuzz_take(input, block + at, slices[i].size);
        at += slices[i].size;
    }
    picture.head = block;
    if (bitstream_jpeg.build(state, &picture, &packet) == 0)
        check(&packet, block, size);
    for (uint8_t i = 0; i < count; i++)
        free((void *)(uintptr_t)slices[i].param);
    free(slices);
    free(param);
    free(tables);
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    void *state = zeroed(bitstream_jpeg.state_size);

    for (unsigned i = 0; i < MAX_PICTURES && input.size > 0; i++)
        run_picture(&input, state);
    free(state);
    return 0;
}
