/* SPDX-License-Identifier: MIT */
#include "bits.h"

#include <string.h>

#include <viaduct/errors.h>

void bits_read_init(struct bits_reader *reader, const void *data, size_t size, bool escaped)
{
    *reader = (struct bits_reader){.data = data, .size = size, .escaped = escaped};
}

/* Tops the cache up to 57 bits or more, or to the end of the data. */
static void reader_fill(struct bits_reader *reader)
{
    while (reader->count <= 56 && reader->next < reader->size) {
        uint8_t byte = reader->data[reader->next];

        if (reader->escaped && reader->zeros == 2 && byte != 0 && byte <= 3) {
            /* 7.4.1: 00 00 03 hides 00 00; 00 00 01 and 00 00 02 cannot be inside a NAL unit. */
            if (byte != 3) {
                reader->size = reader->next;
                return;
            }
            reader->zeros = 0;
            reader->next++;
            continue;
        }
        if (byte != 0)
            reader->zeros = 0;
        else if (reader->zeros < 2)
            reader->zeros++;
        reader->cache |= (uint64_t)byte << (56 - reader->count);
        reader->count += 8;
        reader->next++;
    }
}

static void reader_fail(struct bits_reader *reader)
{
    reader->error = true;
    reader->cache = 0;
    reader->count = 0;
    reader->size = reader->next;
}

uint32_t bits_read(struct bits_reader *reader, unsigned n)
{
    uint32_t value;

    if (n == 0)
        return 0;
    if (reader->count < n)
        reader_fill(reader);
    if (n > 32 || reader->count < n) {
        reader_fail(reader);
        return 0;
    }
    value = (uint32_t)(reader->cache >> (64 - n));
    reader->cache <<= n;
    reader->count -= n;
    reader->position += n;
    return value;
}

uint32_t bits_read_ue(struct bits_reader *reader)
{
    unsigned zeros = 0;

    if (reader->count < 33)
        reader_fill(reader);
    while (zeros < reader->count && !(reader->cache & UINT64_C(1) << (63 - zeros)))
        zeros++;
    /* 9.1: 32 leading zeros are codeNum 2^32 - 1 and more, which no syntax element reaches. */
    if (zeros > 31 || zeros == reader->count) {
        reader_fail(reader);
        return 0;
    }
    bits_read(reader, zeros);
    zeros = bits_read(reader, zeros + 1);
    return reader->error ? 0 : zeros - 1;
}

int32_t bits_read_se(struct bits_reader *reader)
{
    uint32_t code = bits_read_ue(reader);

    /* 9.1.1: 1, -1, 2, -2, ... */
    return code & 1 ? (int32_t)(code / 2 + 1) : -(int32_t)(code / 2);
}

void bits_write_init(struct bits_writer *writer, void *data, size_t size)
{
    *writer = (struct bits_writer){.data = data, .size = size};
}

void bits_write(struct bits_writer *writer, unsigned n, uint32_t value)
{
    if (n == 0)
        return;
    if (n > 32)
        writer->error = true;
    if (writer->error)
        return;
    writer->cache = writer->cache << n | (value & (UINT64_MAX >> (64 - n)));
    writer->count += n;
    while (writer->count >= 8) {
        if (writer->used == writer->size) {
            writer->error = true;
            return;
        }
        writer->count -= 8;
        writer->data[writer->used++] = (uint8_t)(writer->cache >> writer->count);
    }
}

/* codeNum `code` by 9.1: as many zeros as `code + 1` has bits after its first one. */
static void writer_put_code(struct bits_writer *writer, uint64_t code)
{
    unsigned length = 0;

    if (code >= UINT32_MAX) {
        writer->error = true;
        return;
    }
    while ((code + 1) >> (length + 1))
        length++;
    bits_write(writer, length, 0);
    bits_write(writer, length + 1, (uint32_t)(code + 1));
}

void bits_write_ue(struct bits_writer *writer, uint32_t value)
{
    writer_put_code(writer, value);
}

void bits_write_se(struct bits_writer *writer, int32_t value)
{
    int64_t wide = value;

    writer_put_code(writer, (uint64_t)(wide > 0 ? 2 * wide - 1 : -2 * wide));
}

void bits_write_trailing(struct bits_writer *writer)
{
    bits_write(writer, 1, 1);
    bits_write(writer, (8 - writer->count) & 7, 0);
}

int bits_escape(const uint8_t *rbsp, size_t size, uint8_t *data, size_t room, size_t *ret_size)
{
    size_t used = 0;
    unsigned zeros = 0;

    for (size_t i = 0; i < size; i++) {
        if (zeros == 2 && rbsp[i] <= 3) {
            if (used == room)
                return VD_ERR_LIMIT;
            data[used++] = 3;
            zeros = 0;
        }
        if (used == room)
            return VD_ERR_LIMIT;
        data[used++] = rbsp[i];
        zeros = rbsp[i] == 0 ? zeros + 1 : 0;
    }
    /* 7.4.1: the last byte of a NAL unit is not zero; an RBSP may end with cabac_zero_words. */
    if (zeros == 2) {
        if (used == room)
            return VD_ERR_LIMIT;
        data[used++] = 3;
    }
    *ret_size = used;
    return 0;
}

int bits_write_nal(struct bits_writer *writer, uint8_t *data, size_t room, size_t *ret_size)
{
    static const uint8_t start_code[4] = {0, 0, 0, 1};
    size_t size;
    int err;

    bits_write_trailing(writer);
    if (writer->error || room < sizeof(start_code))
        return VD_ERR_LIMIT;
    memcpy(data, start_code, sizeof(start_code));
    err = bits_escape(writer->data, writer->used, data + sizeof(start_code),
                      room - sizeof(start_code), &size);
    if (err)
        return err;
    *ret_size = sizeof(start_code) + size;
    return 0;
}
