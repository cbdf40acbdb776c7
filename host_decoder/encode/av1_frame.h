/* SPDX-License-Identifier: MIT */
#ifndef HOST_ENCODE_AV1_FRAME_H
#define HOST_ENCODE_AV1_FRAME_H

#include "av1_sequence.h"

/* Of each of the eight frames that a decoder keeps: what the next headers are read with. */
struct av1_slot {
    bool valid;
    uint8_t order_hint; /* the encoder's */
    struct {
        bool enabled; /* SEG_LVL_ALT_Q */
        int16_t value;
    } alt_q[8];
};

/*
 * Brings frame headers that were made under one sequence header under another: what both can say is
 * copied, what only the app's can say is said to be off. It needs that both agree in how blocks are
 * read (av1_frame_agree), and that what only the encoder's can say is off, too.
 *
 * Order hints: the app's may have more bits. The encoder's are then shifted: what is compared is
 * the difference, modulo the number of values, which keeps its sign, also for frames that are
 * older than half of the encoder's numbers.
 */
struct av1_frame {
    const struct av1_sequence *from, *to;
    struct av1_slot slots[8];
};

/* Whether frames under `from` can be brought under `to`; if not, `ret_why` names the field. */
bool av1_frame_agree(const struct av1_sequence *from, const struct av1_sequence *to,
                     const char **ret_why);
/*
 * Reads uncompressed_header() (5.9.2) of `payload` and writes it, without what follows. `ret_bits`:
 * bits that were read. 0; VD_ERR_PARAMETER: broken; VD_ERR_UNSUPPORTED: the other header cannot
 * say it.
 */
int av1_frame_rewrite(struct av1_frame *frame, const uint8_t *payload, size_t size,
                      struct bits_writer *writer, uint64_t *ret_bits);

#endif
