/* SPDX-License-Identifier: MIT */
#include "hevc_vui.h"

#include <stdbool.h>

/* sub_layer_hrd_parameters(), E.2.3 */
static void skip_sub_layer(struct bits_reader *reader, unsigned cpbs, bool sub_pictures)
{
    for (unsigned i = 0; i < cpbs && !reader->error; i++) {
        for (int j = 0; j < (sub_pictures ? 4 : 2); j++)
            bits_read_ue(reader); /* bit_rate_value_minus1, cpb_size_value_minus1, of both units */
        bits_read(reader, 1);     /* cbr_flag */
    }
}

/* hrd_parameters(1, sub_layers - 1), E.2.2 */
static void skip_hrd(struct bits_reader *reader, unsigned sub_layers)
{
    bool nal = bits_read(reader, 1), vcl = bits_read(reader, 1), sub_pictures = false;

    if (nal || vcl) {
        sub_pictures = bits_read(reader, 1);
        if (sub_pictures)
            bits_read(reader, 8 + 5 + 1 + 5);
        bits_read(reader, 4 + 4); /* bit_rate_scale, cpb_size_scale */
        if (sub_pictures)
            bits_read(reader, 4);
        bits_read(reader, 5 + 5 + 5);
    }
    for (unsigned i = 0; i < sub_layers && !reader->error; i++) {
        bool fixed = bits_read(reader, 1), within = fixed || bits_read(reader, 1);
        bool low_delay = false;
        unsigned cpbs = 1;

        if (within)
            bits_read_ue(reader); /* elemental_duration_in_tc_minus1 */
        else
            low_delay = bits_read(reader, 1);
        if (!low_delay)
            cpbs = bits_read_ue(reader) + 1; /* cpb_cnt_minus1 */
        if (cpbs < 1 || cpbs > 32)
            reader->error = true;
        if (nal && !reader->error)
            skip_sub_layer(reader, cpbs, sub_pictures);
        if (vcl && !reader->error)
            skip_sub_layer(reader, cpbs, sub_pictures);
    }
}

static void skip_ues(struct bits_reader *reader, int count)
{
    while (count-- > 0)
        bits_read_ue(reader);
}

void hevc_vui_skip(struct bits_reader *reader, unsigned sub_layers)
{
    if (bits_read(reader, 1) && bits_read(reader, 8) == 255) /* aspect_ratio_idc: EXTENDED_SAR */
        bits_read(reader, 32);
    if (bits_read(reader, 1))
        bits_read(reader, 1); /* overscan_appropriate_flag */
    if (bits_read(reader, 1)) {
        bits_read(reader, 3 + 1);
        if (bits_read(reader, 1))
            bits_read(reader, 24);
    }
    if (bits_read(reader, 1))
        skip_ues(reader, 2); /* chroma_sample_loc_type_* */
    bits_read(reader, 3);    /* neutral_chroma_indication_flag, field_seq_flag, frame_field_info */
    if (bits_read(reader, 1))
        skip_ues(reader, 4); /* default display window */
    if (bits_read(reader, 1)) {
        bits_read(reader, 32);
        bits_read(reader, 32);
        if (bits_read(reader, 1))
            skip_ues(reader, 1);
        if (bits_read(reader, 1))
            skip_hrd(reader, sub_layers);
    }
    if (bits_read(reader, 1)) {
        bits_read(reader, 3);
        skip_ues(reader, 5);
    }
}
