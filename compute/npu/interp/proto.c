/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "proto.h"

int onnx_proto_varint(struct proto *proto, uint64_t *value)
{
    uint64_t sum = 0;

    if (proto->at == proto->end)
        return 0;
    for (unsigned shift = 0; shift < 70 && proto->at < proto->end; shift += 7) {
        uint8_t byte = *proto->at++;

        /* The tenth byte has room for one bit. */
        if (shift == 63 && byte > 1)
            return -1;
        sum |= (uint64_t)(byte & 0x7f) << (shift < 64 ? shift : 63);
        if (!(byte & 0x80)) {
            *value = sum;
            return 1;
        }
    }
    return -1;
}

int onnx_proto_next(struct proto *proto, struct proto_field *field)
{
    uint64_t key, size;
    int more = onnx_proto_varint(proto, &key);

    memset(field, 0, sizeof(*field));
    if (more <= 0)
        return more;
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return -1;
    field->number = (uint32_t)(key >> 3);
    field->type = (enum proto_type)(key & 7);
    switch (field->type) {
    case PROTO_VARINT:
        return onnx_proto_varint(proto, &field->value) == 1 ? 1 : -1;
    case PROTO_FIXED64:
        if (onnx_proto_size(*proto) < 8)
            return -1;
        memcpy(&field->value, proto->at, 8);
        proto->at += 8;
        return 1;
    case PROTO_FIXED32: {
        uint32_t value;

        if (onnx_proto_size(*proto) < 4)
            return -1;
        memcpy(&value, proto->at, 4);
        field->value = value;
        proto->at += 4;
        return 1;
    }
    case PROTO_BYTES:
        if (onnx_proto_varint(proto, &size) != 1 || size > onnx_proto_size(*proto))
            return -1;
        field->bytes = (struct proto){proto->at, proto->at + size};
        proto->at += size;
        return 1;
    }
    return -1; /* groups are no part of ONNX */
}
