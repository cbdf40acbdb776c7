/* SPDX-License-Identifier: MIT */
#include "serial_marks.h"

#include <string.h>

const uint8_t serial_sign[SERIAL_SIGN_BYTES] = {0xd9, 0xa7, 0xe5, 0x93, 0xbb, 0xf1, 0x8d, 0xc3};

const uint8_t serial_nothing[SERIAL_SIGN_BYTES + 1] = {0xd9, 0xa7, 0xe5, 0x93, 0xbb,
                                                       0xf1, 0x8d, 0xc3, 'N'};

void serial_marks_make(uint8_t ret_mark[SERIAL_MARK_BYTES], char letter, const char *digits)
{
    memcpy(ret_mark, serial_sign, SERIAL_SIGN_BYTES);
    ret_mark[SERIAL_SIGN_BYTES] = (uint8_t)letter;
    if (digits)
        memcpy(ret_mark + SERIAL_SIGN_BYTES + 1, digits, SERIAL_DIGITS);
    else
        memset(ret_mark + SERIAL_SIGN_BYTES + 1, '0', SERIAL_DIGITS);
}

/* The next byte: how much of a sign there is with it. */
static unsigned match(unsigned matched, uint8_t byte)
{
    if (byte == serial_sign[matched])
        return matched + 1;
    return byte == serial_sign[0];
}

/* Bytes before the next that a sign could begin with. */
static size_t plain(const uint8_t *bytes, size_t size)
{
    const uint8_t *first = memchr(bytes, serial_sign[0], size);

    return first ? (size_t)(first - bytes) : size;
}

size_t serial_marks_scan(unsigned *matched, const uint8_t *bytes, size_t size, bool *ret_due)
{
    size_t at = 0;

    *ret_due = false;
    while (at < size) {
        if (!*matched)
            at += plain(bytes + at, size - at);
        if (at == size)
            break;
        *matched = match(*matched, bytes[at++]);
        if (*matched == SERIAL_SIGN_BYTES) {
            *matched = 0;
            *ret_due = true;
            break;
        }
    }
    return at;
}

static void forget(struct serial_marks *m)
{
    m->in_mark = false;
    m->matched = m->digits = 0;
    m->letter = 0;
}

/* A byte of the stream, or of a sign; the part of one that it proves to be none goes out. */
static void read_stream(struct serial_marks *m, uint8_t byte, uint8_t *ret_bytes, size_t *used)
{
    /* Always fewer: a whole sign is a mark. */
    unsigned had = m->matched % SERIAL_SIGN_BYTES, now = match(had, byte);

    if (now <= had) {
        /* `now` is 0 or 1. */
        memcpy(ret_bytes + *used, serial_sign, had);
        *used += had;
        if (!now)
            ret_bytes[(*used)++] = byte;
    }
    m->matched = now;
    if (now == SERIAL_SIGN_BYTES) {
        forget(m);
        m->in_mark = true;
    }
}

/* A byte behind a sign. 0: go on; else what it makes complete. */
static char read_mark(struct serial_marks *m, uint8_t byte, uint8_t *ret_bytes, size_t *used)
{
    if (byte == serial_sign[0]) {
        /* Its writer is gone; another one begins. */
        forget(m);
        m->matched = 1;
        return 0;
    }
    if (!m->letter && byte == 'L') {
        memcpy(ret_bytes + *used, serial_sign, SERIAL_SIGN_BYTES);
        *used += SERIAL_SIGN_BYTES;
        forget(m);
        return 0;
    }
    if (!m->letter && byte == 'N') {
        forget(m);
        return 0;
    }
    if (!m->letter) {
        m->letter = (char)byte;
        return byte == 'O' || byte == 'A' || byte == 'C' ? 0 : '?';
    }
    if (!((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f')))
        return '?';
    m->number[m->digits++] = (char)byte;
    return m->digits == SERIAL_DIGITS ? m->letter : 0;
}

size_t serial_marks_read(struct serial_marks *m, const uint8_t *bytes, size_t size,
                         uint8_t *ret_bytes, size_t *ret_size, char *ret_mark)
{
    size_t at = 0, used = 0;

    *ret_mark = 0;
    while (at < size && !*ret_mark) {
        if (!m->in_mark && !m->matched) {
            size_t n = plain(bytes + at, size - at);

            memcpy(ret_bytes + used, bytes + at, n);
            at += n;
            used += n;
            if (at == size)
                break;
        }
        if (m->in_mark)
            *ret_mark = read_mark(m, bytes[at++], ret_bytes, &used);
        else
            read_stream(m, bytes[at++], ret_bytes, &used);
    }
    if (*ret_mark)
        forget(m);
    *ret_size = used;
    return at;
}
