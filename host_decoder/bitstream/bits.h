/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_BITS_H
#define VIADUCT_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bits in and out of bounded memory, most significant bit first.
 *
 * As a general rule errors are sticky: after the first one a reader returns zeros and a writer
 * writes nothing, so a caller asks once, at the end. The structs are plain values without
 * resources: nothing is to be freed.
 */

struct bits_reader {
    const uint8_t *data;
    size_t size;
    size_t next;    /* first byte that is not in the cache */
    uint64_t cache; /* left-aligned, zero below its `count` bits */
    unsigned count;
    unsigned zeros;    /* zero bytes just before `next`, at most two are counted */
    uint64_t position; /* bits read, emulation prevention bytes not counted */
    bool escaped;
    bool error; /* more was asked for than there is, or an illegal code was met */
};

struct bits_writer {
    uint8_t *data;
    size_t size;
    size_t used;    /* whole bytes */
    uint64_t cache; /* right-aligned, `count` < 8 bits between calls */
    unsigned count;
    bool error; /* the buffer was too small, or a value has no code */
};

/*
 * Starts reading `size` bytes at `data`, which must outlive the reader. `escaped` memory is a NAL
 * unit (H.264 and H.265 7.3.1): emulation_prevention_three_bytes are skipped, and a start code
 * prefix ends the data.
 */
void bits_read_init(struct bits_reader *reader, const void *data, size_t size, bool escaped);

/* u(n), n at most 32. 0 after an error. */
uint32_t bits_read(struct bits_reader *reader, unsigned n);

/* ue(v) and se(v) of H.264 9.1: 0 to 2^32 - 2, and the signed half of it. 0 after an error. */
uint32_t bits_read_ue(struct bits_reader *reader);
int32_t bits_read_se(struct bits_reader *reader);

/* Starts writing into `size` bytes at `data`. */
void bits_write_init(struct bits_writer *writer, void *data, size_t size);

/* u(n), n at most 32; bits of `value` above them are ignored. */
void bits_write(struct bits_writer *writer, unsigned n, uint32_t value);

/* ue(v) and se(v). UINT32_MAX and INT32_MIN have no code and are errors. */
void bits_write_ue(struct bits_writer *writer, uint32_t value);
void bits_write_se(struct bits_writer *writer, int32_t value);

/* rbsp_trailing_bits(): a one, then zeros up to the byte boundary. */
void bits_write_trailing(struct bits_writer *writer);

/*
 * Writes a NAL unit (header and RBSP in `rbsp`) with its emulation prevention bytes to `data`.
 * VD_ERR_LIMIT if `room` is too small; what was written by then is garbage.
 */
int bits_escape(const uint8_t *rbsp, size_t size, uint8_t *data, size_t room, size_t *ret_size);
/*
 * Ends the RBSP in `writer`, whose first bytes are the NAL header, and writes start code and NAL
 * unit to `data`. -VD_ERR_LIMIT.
 */
int bits_write_nal(struct bits_writer *writer, uint8_t *data, size_t room, size_t *ret_size);

#endif
