/* SPDX-License-Identifier: MIT */
#include "hevc_unit.h"

static const uint8_t start_code[4] = {0, 0, 0, 1};

/* The place of the next 00 00 01 at or behind `at`, or the size. */
static size_t find_start(const uint8_t *data, size_t size, size_t at)
{
    while (at + 3 <= size) {
        if (data[at + 2] > 1)
            at += 3;
        else if (data[at] == 0 && data[at + 1] == 0 && data[at + 2] == 1)
            return at;
        else
            at++;
    }
    return size;
}

bool hevc_unit_next(struct hevc_unit_reader *reader, struct hevc_unit *ret_unit)
{
    const uint8_t *data = reader->data;
    struct hevc_unit unit = {.escaped = reader->escaped};

    while (reader->at < reader->size) {
        size_t start = find_start(data, reader->size, reader->at), end = reader->size;

        /* Without a start code it is the unit alone. */
        start = start < reader->size ? start + 3 : reader->at ? reader->size : 0;
        if (reader->escaped)
            end = find_start(data, reader->size, start);
        reader->at = end;
        while (end > start && data[end - 1] == 0)
            end--;
        if (end < start + 2)
            continue;
        unit.type = (enum hevc_nal)(data[start] >> 1 & 0x3f);
        unit.data = data + start;
        unit.size = end - start;
        *ret_unit = unit;
        return true;
    }
    return false;
}

void hevc_unit_put(struct encode_output *output, const struct hevc_unit *unit)
{
    static const uint8_t prevention = 3;
    size_t done = 0;
    unsigned zeros = 0;

    encode_put(output, start_code, sizeof(start_code));
    for (size_t i = 0; i < unit->size && !unit->escaped; i++) {
        if (zeros >= 2 && unit->data[i] <= 3) {
            encode_put(output, unit->data + done, i - done);
            encode_put(output, &prevention, 1);
            done = i;
            zeros = 0;
        }
        zeros = unit->data[i] == 0 ? zeros + 1 : 0;
    }
    encode_put(output, unit->data + done, unit->size - done);
}
