/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_PROTO_H
#define VIADUCT_ONNX_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding) in place. Nothing
 * is copied; a field never reaches past its message.
 */
struct proto {
    const uint8_t *at, *end;
};

enum proto_type {
    PROTO_VARINT = 0,
    PROTO_FIXED64 = 1,
    PROTO_BYTES = 2,
    PROTO_FIXED32 = 5,
};

struct proto_field {
    uint32_t number;
    enum proto_type type;
    uint64_t value;     /* of the types that are no bytes */
    struct proto bytes; /* of PROTO_BYTES */
};

static inline struct proto onnx_proto_of(const void *data, size_t size)
{
    return (struct proto){data, (const uint8_t *)data + size};
}

static inline size_t onnx_proto_size(struct proto proto)
{
    return (size_t)(proto.end - proto.at);
}

/* 1: a field; 0: the end; -1: broken. */
int onnx_proto_next(struct proto *proto, struct proto_field *field);
/* Numbers of a repeated field: one, or many packed. 1, 0, -1 as above. */
int onnx_proto_varint(struct proto *proto, uint64_t *value);

static inline float onnx_proto_float(const struct proto_field *field)
{
    union {
        uint32_t bits;
        float value;
    } as = {(uint32_t)field->value};

    return as.value;
}

#endif
