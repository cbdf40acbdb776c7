/* SPDX-License-Identifier: MIT */
#include "h264_nal.h"

#include <string.h>

static const uint8_t start_code[4] = {0, 0, 0, 1};

/* The first of the three bytes of a start code, NULL: there is none. */
static const uint8_t *find_start_code(const uint8_t *data, const uint8_t *end)
{
    while (end - data >= 3) {
        const uint8_t *one = memchr(data + 2, 1, (size_t)(end - data - 2));

        if (!one)
            return NULL;
        if (!one[-1] && !one[-2])
            return one - 2;
        data = one - 1;
    }
    return NULL;
}

bool h264_nal_next(struct h264_nals *from, struct h264_nal *ret_nal)
{
    while (from->size) {
        const uint8_t *end = from->data + from->size, *next = NULL;
        const uint8_t *begin = find_start_code(from->data, end);
        size_t size;

        if (!begin)
            break;
        begin += 3;
        if (from->escaped)
            next = find_start_code(begin, end);
        size = (size_t)((next ? next : end) - begin);
        from->size = next ? (size_t)(end - next) : 0;
        from->data = next ? next : end;
        while (size && !begin[size - 1])
            size--;
        if (!size)
            continue;
        *ret_nal = (struct h264_nal){.data = begin, .size = size, .escaped = from->escaped};
        return true;
    }
    from->size = 0;
    return false;
}

/* Bytes on their way to the output that get emulation prevention bytes (7.4.1). */
struct sink {
    struct encode_output *output;
    unsigned zeros;
    size_t used;
    uint8_t bytes[512];
};

static void sink_flush(struct sink *sink)
{
    encode_put(sink->output, sink->bytes, sink->used);
    sink->used = 0;
}

static inline void sink_put(struct sink *sink, uint8_t byte)
{
    if (sink->used + 2 > sizeof(sink->bytes))
        sink_flush(sink);
    if (sink->zeros == 2 && byte <= 3) {
        sink->bytes[sink->used++] = 3;
        sink->zeros = 0;
    }
    sink->bytes[sink->used++] = byte;
    sink->zeros = byte ? 0 : sink->zeros + 1;
}

/* The last byte of a NAL unit is not zero. */
static void sink_finish(struct sink *sink)
{
    if (sink->zeros)
        sink->bytes[sink->used++] = 3;
    sink_flush(sink);
}

/* The reverse. */
struct source {
    const uint8_t *data;
    size_t at, size;
    unsigned zeros;
};

/* -1 at the end. */
static inline int source_next(struct source *source)
{
    uint8_t byte;

    if (source->zeros == 2 && source->at < source->size && source->data[source->at] == 3) {
        source->at++;
        source->zeros = 0;
    }
    if (source->at == source->size)
        return -1;
    byte = source->data[source->at++];
    if (byte)
        source->zeros = 0;
    else if (source->zeros < 2)
        source->zeros++;
    return byte;
}

void h264_nal_put(struct encode_output *output, const struct h264_nal *nal)
{
    encode_put(output, start_code, sizeof(start_code));
    if (nal->escaped) {
        encode_put(output, nal->data, nal->size);
    } else {
        struct sink sink = {.output = output};

        for (size_t i = 0; i < nal->size; i++)
            sink_put(&sink, nal->data[i]);
        sink_finish(&sink);
    }
}

/* As soon as both sides have seen as many zeros, what follows is escaped alike. */
static void copy_bytes(struct sink *sink, struct source *source)
{
    int byte = 0;

    while (source->zeros != sink->zeros && (byte = source_next(source)) >= 0)
        sink_put(sink, (uint8_t)byte);
    if (byte < 0 || source->at == source->size) {
        sink_finish(sink);
        return;
    }
    sink_flush(sink);
    encode_put(sink->output, source->data + source->at, source->size - source->at);
}

/* `count` bits of `bits` come first; of the source's next byte the first `skip` bits are left out.
 */
static void copy_bits(struct sink *sink, struct source *source, uint32_t bits, unsigned count,
                      unsigned skip)
{
    int byte = source_next(source);

    if (byte >= 0) {
        bits = bits << (8 - skip) | ((uint32_t)byte & (0xffu >> skip));
        count += 8 - skip;
    }
    for (;;) {
        if (count >= 8) {
            count -= 8;
            sink_put(sink, (uint8_t)(bits >> count));
        }
        byte = source_next(source);
        if (byte < 0)
            break;
        bits = bits << 8 | (uint32_t)byte;
        count += 8;
    }
    /* Nothing but zeros: the stop bit was the last one before them. */
    if (bits & ((1u << count) - 1))
        sink_put(sink, (uint8_t)(bits << (8 - count)));
    sink_finish(sink);
}

void h264_nal_put_slice(struct encode_output *output, struct bits_writer *writer,
                        const struct h264_nal *nal, uint64_t position, bool aligned)
{
    struct sink sink = {.output = output};
    struct source source = {.data = nal->data, .size = nal->size};

    encode_put(output, start_code, sizeof(start_code));
    if (aligned) {
        bits_write(writer, (8 - writer->count) & 7, 0xff); /* cabac_alignment_one_bit */
        position += 7;
    }
    for (size_t i = 0; i < writer->used; i++)
        sink_put(&sink, writer->data[i]);
    for (uint64_t i = 0; i < position / 8 && source_next(&source) >= 0; i++)
        ;
    if (aligned)
        copy_bytes(&sink, &source);
    else
        copy_bits(&sink, &source, (uint32_t)(writer->cache & 0xff), writer->count,
                  (unsigned)(position % 8));
}
