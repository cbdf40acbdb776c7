/* SPDX-License-Identifier: MIT */
#ifndef TRANSPORT_SERIAL_MARKS_H
#define TRANSPORT_SERIAL_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Sessions on a line that has no ends: a virtual machine's serial port. When the guest's program is
 * killed the host sees no end of stream, and what either side had on its way is still there for
 * whoever opens the port next. So sessions begin and end with marks in the stream, which nothing
 * else can look like:
 *
 *   8 bytes that are always the same (the sign), a letter, and, but for L and N, 16 hex digits
 *
 *   O  guest: a session begins; the digits are its random number
 *   A  host: it has begun; all before was another's
 *   C  either: it has ended. Host, zeros: whatever session there was has
 *   L  none: the sign is part of the stream itself, and was just sent
 *   N  none: the stream's bytes so far look like the start of a sign, and are not; the reader need
 *      not wait for more to know
 *
 * All bytes of the sign differ, so it cannot overlap with itself. A mark that is cut off by another
 * one counts as nothing.
 */
#define SERIAL_SIGN_BYTES 8
#define SERIAL_DIGITS     16
#define SERIAL_MARK_BYTES (SERIAL_SIGN_BYTES + 1 + SERIAL_DIGITS)

extern const uint8_t serial_sign[SERIAL_SIGN_BYTES];

/* Writes a mark; digits NULL: zeros. */
void serial_marks_make(uint8_t ret_mark[SERIAL_MARK_BYTES], char letter, const char *digits);
/* The mark N, which is due when nothing more is to be sent and `matched` is not 0. */
extern const uint8_t serial_nothing[SERIAL_SIGN_BYTES + 1];

/*
 * How many of these bytes may be sent before an L is due (ret_due), or all. `matched` is 0 at
 * first, and the stream's from then on.
 */
size_t serial_marks_scan(unsigned *matched, const uint8_t *bytes, size_t size, bool *ret_due);

struct serial_marks {
    unsigned matched; /* bytes of a sign */
    bool in_mark;     /* behind the sign */
    unsigned digits;  /* that are there */
    char letter;      /* of the mark, 0: not known yet */
    char number[SERIAL_DIGITS + 1];
};

/*
 * Reads what came: bytes of the stream go to `ret_bytes` (room for size + SERIAL_SIGN_BYTES; not
 * the same memory), until the end or behind a mark. Returns how many bytes were read. ret_mark:
 * its letter, digits in marks->number; 0: none; '?': something that is no mark, the line is broken.
 */
size_t serial_marks_read(struct serial_marks *marks, const uint8_t *bytes, size_t size,
                         uint8_t *ret_bytes, size_t *ret_size, char *ret_mark);

#endif
