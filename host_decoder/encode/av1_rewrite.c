/* SPDX-License-Identifier: MIT */
#include "av1_rewrite.h"

#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#define HEADER_ROOM 512 /* of a frame header */

bool av1_rewrite_find(const struct encode_header *headers, uint32_t count,
                      struct av1_sequence *ret_sequence, struct av1_obu *ret_obu)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = headers[i].bytes;
        size_t left = ((size_t)headers[i].bits + 7) / 8;

        while (left && !av1_obu_read(at, left, ret_obu)) {
            if (ret_obu->type == AV1_OBU_SEQUENCE_HEADER)
                return ret_obu->size <= AV1_REWRITE_BYTES &&
                       !av1_sequence_read(ret_obu->payload, ret_obu->payload_size, ret_sequence);
            at += ret_obu->size;
            left -= ret_obu->size;
        }
    }
    return false;
}

/* What the app wants to have in front of the frame: light levels, mastering displays, ... */
static void put_metadata(const struct encode_request *request, struct encode_output *output)
{
    for (uint32_t i = 0; i < request->header_count; i++) {
        const uint8_t *at = request->headers[i].bytes;
        size_t left = ((size_t)request->headers[i].bits + 7) / 8;
        struct av1_obu obu;

        while (left && !av1_obu_read(at, left, &obu)) {
            if (obu.type == AV1_OBU_METADATA) {
                uint8_t header[AV1_OBU_HEADER];

                encode_put(output, header, av1_obu_header(obu.type, obu.payload_size, header));
                encode_put(output, obu.payload, obu.payload_size);
            }
            at += obu.size;
            left -= obu.size;
        }
    }
}

/*
 * Bytes that are no OBU of a stream go in front of all: what some programs have of their container
 * (libva-utils' av1encode writes IVF that way).
 */
static void put_raw(const struct encode_request *request, struct encode_output *output)
{
    for (uint32_t i = 0; i < request->header_count; i++) {
        const struct encode_header *header = &request->headers[i];
        uint32_t type = header->bits >= 8 ? header->bytes[0] >> 3 : 0;

        if (header->bits >= 8 && type != AV1_OBU_PADDING &&
            (type < AV1_OBU_SEQUENCE_HEADER || type > AV1_OBU_REDUNDANT_FRAME_HEADER))
            encode_put(output, header->bytes, ((size_t)header->bits + 7) / 8);
    }
}

static void put_sequence(const struct av1_rewrite *rw, struct encode_output *output)
{
    uint8_t header[AV1_OBU_HEADER];
    struct av1_obu obu;

    /* Read once already; its size may not have been there. */
    if (av1_obu_read(rw->app_bytes, rw->app_size, &obu))
        return;
    encode_put(output, header, av1_obu_header(obu.type, obu.payload_size, header));
    encode_put(output, obu.payload, obu.payload_size);
}

static bool has_sequence(const struct encode_packet *packet)
{
    const uint8_t *at = packet->data;
    size_t left = packet->size;
    struct av1_obu obu;

    while (left && !av1_obu_read(at, left, &obu)) {
        if (obu.type == AV1_OBU_SEQUENCE_HEADER)
            return true;
        at += obu.size;
        left -= obu.size;
    }
    return false;
}

/*
 * A new one counts from the encoder's next sequence header on: all frames up to there are written
 * under the old one, which the stream has.
 */
static bool take_app(struct av1_rewrite *rw, const struct encode_request *request)
{
    struct av1_sequence sequence;
    struct av1_obu obu;

    if (request->type != ENCODE_IDR ||
        !av1_rewrite_find(request->headers, request->header_count, &sequence, &obu))
        return false;
    memcpy(rw->app_bytes, obu.start, obu.size);
    rw->app_size = obu.size;
    rw->app = sequence;
    return true;
}

static int take_encoder(struct av1_rewrite *rw, const struct av1_obu *obu)
{
    const char *why = NULL;

    rw->has_encoder = !av1_sequence_read(obu->payload, obu->payload_size, &rw->encoder);
    if (!rw->has_encoder)
        return VD_ERR_DECODE;
    rw->foreign = !av1_frame_agree(&rw->encoder, &rw->app, &why);
    if (rw->foreign)
        log_warn("an AV1 encoder does not keep to the program's sequence header (%s): the stream "
                 "has its own",
                 why);
    rw->frame.from = &rw->encoder;
    rw->frame.to = &rw->app;
    return 0;
}

static int put_frame(struct av1_rewrite *rw, const struct av1_obu *obu,
                     struct encode_output *output)
{
    uint8_t bytes[HEADER_ROOM], header[AV1_OBU_HEADER];
    struct bits_writer writer;
    size_t taken, rest;
    uint64_t bits;
    int err;

    bits_write_init(&writer, bytes, sizeof(bytes));
    err = rw->has_encoder
              ? av1_frame_rewrite(&rw->frame, obu->payload, obu->payload_size, &writer, &bits)
              : VD_ERR_PARAMETER;
    if (err) {
        log_warn("an AV1 frame header cannot be brought under the program's: %s",
                 err == VD_ERR_UNSUPPORTED ? "it cannot say that" : "it is broken");
        return VD_ERR_DECODE;
    }
    /* byte_alignment(), or trailing_bits() if nothing follows */
    if (obu->type == AV1_OBU_FRAME) {
        if (writer.count)
            bits_write(&writer, 8 - writer.count, 0);
    } else {
        bits_write_trailing(&writer);
    }
    taken = obu->type == AV1_OBU_FRAME ? (size_t)(bits + 7) / 8 : obu->payload_size;
    rest = obu->payload_size - taken;
    if (writer.error)
        return VD_ERR_DECODE;
    encode_put(output, header, av1_obu_header(obu->type, writer.used + rest, header));
    encode_put(output, bytes, writer.used);
    encode_put(output, obu->payload + taken, rest);
    return 0;
}

int av1_rewrite_write(void *state, const struct encode_request *request,
                      const struct encode_packet *packet, struct encode_output *output)
{
    struct av1_rewrite *rw = state;
    const uint8_t *at = packet->data;
    size_t left = packet->size;
    bool metadata = false;
    struct av1_obu obu;
    int err = 0;

    if (!rw->app_size && (!has_sequence(packet) || !take_app(rw, request))) {
        encode_put(output, packet->data, packet->size);
        return 0;
    }
    put_raw(request, output);
    while (left && !err) {
        if (av1_obu_read(at, left, &obu))
            return VD_ERR_DECODE;
        switch (obu.type) {
        case AV1_OBU_SEQUENCE_HEADER:
            take_app(rw, request);
            err = take_encoder(rw, &obu);
            if (rw->foreign)
                encode_put(output, obu.start, obu.size);
            else
                put_sequence(rw, output);
            break;
        case AV1_OBU_FRAME:
        case AV1_OBU_FRAME_HEADER:
            if (!metadata)
                put_metadata(request, output);
            metadata = true;
            if (rw->foreign)
                encode_put(output, obu.start, obu.size);
            else
                err = put_frame(rw, &obu, output);
            break;
        case AV1_OBU_REDUNDANT_FRAME_HEADER:
        case AV1_OBU_PADDING:
            break;
        default:
            encode_put(output, obu.start, obu.size);
            break;
        }
        at += obu.size;
        left -= obu.size;
    }
    return err;
}
