/* SPDX-License-Identifier: MIT */
#include "encode/av1_rewrite.h"
#include "fuzz.h"

/*
 * An app's headers and an encoder's temporal units, any of both: what is written must be OBUs, no
 * longer than a frame header more than what came in.
 *
 * Input, a picture: flags, headers, the packet.
 */

#define MAX_PICTURES 8
#define MOST_HEADER  256
#define MOST_PACKET  2048
#define ROOM         8192

enum { SMALL_ROOM = 1, TWO_HEADERS = 2 };

static const uint8_t *exact(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

static void take_header(struct fuzz_input *input, struct encode_header *header)
{
    uint16_t size = fuzz_word(input) % (MOST_HEADER + 1);
    uint8_t bytes[MOST_HEADER];

    fuzz_take(input, bytes, size);
    *header = (struct encode_header){.bits = size * 8u, .bytes = exact(bytes, size)};
}

/* What is no OBU goes in front of them. */
static bool has_raw(const struct encode_request *request)
{
    bool raw = false;

    for (uint32_t i = 0; i < request->header_count; i++) {
        uint32_t type = request->headers[i].bits ? request->headers[i].bytes[0] >> 3 : 1;

        raw = raw || !type || (type > 7 && type != AV1_OBU_PADDING);
    }
    return raw;
}

static void check(const uint8_t *bytes, size_t size)
{
    struct av1_obu obu;

    for (; size; bytes += obu.size, size -= obu.size) {
        if (av1_obu_read(bytes, size, &obu))
            abort();
    }
}

static void run_picture(struct av1_rewrite *rw, struct fuzz_input *input)
{
    struct encode_request *request = calloc(1, sizeof(*request));
    uint8_t flags = fuzz_byte(input), bytes[MOST_PACKET];
    struct encode_output output = {.room = flags & SMALL_ROOM ? 30 : ROOM};
    struct encode_packet packet = {.size = 0};

    if (!request)
        abort();
    request->header_count = flags & TWO_HEADERS ? 2 : 1;
    for (uint32_t i = 0; i < request->header_count; i++)
        take_header(input, &request->headers[i]);
    packet.size = fuzz_word(input) % (MOST_PACKET + 1);
    fuzz_take(input, bytes, packet.size);
    packet.data = exact(bytes, packet.size);
    output.bytes = malloc(output.room);
    if (!output.bytes)
        abort();
    if (!av1_rewrite_write(rw, request, &packet, &output) && rw->app_size &&
        output.size <= output.room && !has_raw(request))
        check(output.bytes, output.size);
    for (uint32_t i = 0; i < request->header_count; i++)
        free((void *)(uintptr_t)request->headers[i].bytes);
    free((void *)(uintptr_t)packet.data);
    free(output.bytes);
    free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct av1_rewrite *rw = calloc(1, sizeof(*rw));
    struct fuzz_input input = {.data = data, .size = size};

    if (!rw)
        abort();
    for (unsigned i = 0; i < MAX_PICTURES && input.size; i++)
        run_picture(rw, &input);
    free(rw);
    return 0;
}

/* --- seeds: the start of what libaom makes of 64x64 pixels, without most of the tiles */

static const uint8_t key[] = {
    0x12, 0x00, 0x0a, 0x0a, 0x00, 0x00, 0x00, 0x02, 0xaf, 0xff, 0x80, 0x4f, 0x00, 0x08,
    0x32, 0x28, 0x10, 0x00, 0xc5, 0x00, 0x61, 0x86, 0x18, 0x20, 0xdd, 0x6d, 0x78, 0x37,
    0xdc, 0x4b, 0xdb, 0x4b, 0x44, 0xc3, 0x11, 0x28, 0x28, 0xb8, 0x23, 0x41, 0xf3, 0xa1,
    0x01, 0x5d, 0x16, 0x4c, 0xc2, 0xea, 0x21, 0x43, 0xa6, 0xf4, 0xa7, 0x17, 0x52, 0x9c};
static const uint8_t second[] = {0x12, 0x00, 0x32, 0x18, 0x30, 0x03, 0x80, 0x80, 0xfd, 0xf8,
                                 0x37, 0xc0, 0x0f, 0xff, 0xff, 0xf1, 0x40, 0x00, 0xcd, 0xda,
                                 0x2e, 0x5b, 0x38, 0x25, 0x9e, 0x1e, 0x93, 0xe9};
static const uint8_t third[] = {0x12, 0x00, 0x32, 0x18, 0x30, 0x04, 0x01, 0x05, 0x7d, 0xf8,
                                0x37, 0xc0, 0x0f, 0xff, 0xff, 0xf1, 0x60, 0x00, 0xc4, 0xc5,
                                0xb4, 0xb0, 0x9c, 0x9b, 0x1f, 0x6b, 0xd9, 0xdd};
static const uint8_t encoder_sequence[] = {0x0a, 0x0a, 0x00, 0x00, 0x00, 0x02,
                                           0xaf, 0xff, 0x80, 0x4f, 0x00, 0x08};

/* FFmpeg's: eight bits of order hint. */
static size_t put_sequence(uint8_t *bytes, unsigned hint_bits)
{
    struct bits_writer w;
    size_t at = av1_obu_header(AV1_OBU_SEQUENCE_HEADER, 11, bytes);

    bits_write_init(&w, bytes + at, 11);
    bits_write(&w, 5, 0);
    bits_write(&w, 6, 0);  /* no timing, no delays, ... */
    bits_write(&w, 17, 4); /* ... one operating point */
    bits_write(&w, 8, 0x55);
    bits_write(&w, 12, 63 << 6 | 63);
    bits_write(&w, 4, 0); /* no frame ids, blocks of 64 */
    bits_write(&w, 4, 0);
    bits_write(&w, 3, 4); /* enable_order_hint */
    bits_write(&w, 2, 0);
    bits_write(&w, 3, hint_bits - 1);
    bits_write(&w, 3, 0);
    bits_write(&w, 4, 0);
    bits_write(&w, 4, 0);
    bits_write_trailing(&w);
    while (w.used < 11)
        bits_write(&w, 8, 0);
    return at + 11;
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    static const struct {
        const uint8_t *bytes;
        size_t size;
    } units[] = {{key, sizeof(key)}, {second, sizeof(second)}, {third, sizeof(third)}};
    struct fuzz_writer w = {.at = buffer, .room = room};
    uint8_t sequence[32];
    size_t size;

    if (index >= 4)
        return 0;
    size = put_sequence(sequence, index & 1 ? 7 : 8);
    if (index == 3) {
        memcpy(sequence, encoder_sequence, sizeof(encoder_sequence));
        size = sizeof(encoder_sequence);
    }
    for (unsigned n = 0; n < 6; n++) {
        fuzz_put_byte(&w, index == 2 && n == 1 ? SMALL_ROOM : 0);
        fuzz_put_word(&w, (uint16_t)(n ? 0 : size));
        fuzz_put(&w, sequence, n ? 0 : size);
        fuzz_put_word(&w, (uint16_t)units[n % 3].size);
        fuzz_put(&w, units[n % 3].bytes, units[n % 3].size);
    }
    return w.used;
}
