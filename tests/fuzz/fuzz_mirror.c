/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <transport/fence.h>
#include <transport/mirror.h>
#include <unistd.h>
#include <viaduct/protocol.h>

/*
 * A hostile host of an in-band session: what it sends, replies and events, against the guest's
 * mirror. The input is a byte of pieces (how the bytes come), then messages.
 */
#define SURFACE 0x30000001u
#define CONTEXT 0x20000001u
#define BYTES   5000u

static void check_pieces(const struct arena *arena)
{
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t backing = arena->status->surfaces[VD_SLOT(SURFACE) + i].backing;
        uint64_t offset;

        if (backing == VD_NO_BACKING)
            continue;
        offset = arena->status->backings[backing].offset;
        if (offset < arena->frame_offset || offset > arena->size - BYTES)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_hello_rep hello = {
        .arena_size = 16u << 20,
        .upload_offset = 2u << 20,
        .upload_size = 2u << 20,
        .frame_offset = 4u << 20,
        .frame_size = 12u << 20,
    };
    struct message_reader reader;
    struct mirror_guest *mirror;
    struct channel *channel;
    struct arena arena;
    const uint8_t *reply;
    size_t reply_size;

    if (!size || arena_twin(&arena, &hello) ||
        fuzz_create(data + 1, size - 1, data[0] * 16u + 1, -1, &channel))
        return 0;
    message_init(&reader, channel);
    if (mirror_guest_create(&reader, &arena, &mirror))
        abort();
    for (uint32_t i = 0; i < 4; i++)
        mirror_guest_expect_surface(mirror, SURFACE + i, BYTES);
    mirror_guest_expect_context(mirror, CONTEXT);
    mirror_guest_fix(mirror, SURFACE + 1, true);
    if (mirror_guest_memory(mirror, SURFACE + 1))
        abort();
    __atomic_add_fetch(&arena.status->backings[0].pins, 1, __ATOMIC_SEQ_CST);
    /* Until its end; a second reply before the first is fetched ends it, too. */
    while (!mirror_guest_reply(mirror, 1000, &reply, &reply_size)) {
        if (reply_size < sizeof(struct vd_header) || reply[0] + reply[reply_size - 1] > 510)
            abort();
        mirror_guest_forget(mirror, SURFACE + 2);
    }
    mirror_guest_destroy(mirror);
    check_pieces(&arena);
    message_finish(&reader);
    channel_destroy(&channel);
    arena_finish(&arena);
    return 0;
}

static void put(struct fuzz_writer *w, uint32_t op, const void *fixed, size_t size, uint32_t words)
{
    struct vd_header header = {(uint32_t)(sizeof(header) + size) + words * 8, op, 0, words};
    static const uint8_t bytes[BYTES + 8];

    header.serial = op & VD_REPLY ? 1 : 0;
    fuzz_put(w, &header, sizeof(header));
    fuzz_put(w, fixed, size);
    fuzz_put(w, bytes, words * (size_t)8);
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {buffer, 0, room};
    struct vd_surface_event done = {SURFACE, 1, 0, 0, VD_SURFACE_FRESH, 0};
    struct vd_context_event context = {CONTEXT, 1};
    struct vd_pixels_event pixels = {SURFACE + (uint32_t)index, 0, BYTES, 0};
    struct vd_coded_event coded = {2u << 20};
    struct vd_context_create_rep reply = {0};

    if (index >= 4)
        return 0;
    fuzz_put_byte(&w, index % 2 ? 255 : 3);
    put(&w, VD_EVENT_pixels, &pixels, sizeof(pixels), 325);
    pixels.offset = 2600;
    put(&w, VD_EVENT_pixels, &pixels, sizeof(pixels), 300);
    done.flags |= VD_SURFACE_PIXELS;
    put(&w, VD_EVENT_surface, &done, sizeof(done), 0);
    put(&w, VD_EVENT_coded, &coded, sizeof(coded), 9);
    put(&w, VD_EVENT_context, &context, sizeof(context), 0);
    put(&w, VD_OP_context_create | VD_REPLY, &reply, sizeof(reply), 0);
    done.flags = VD_SURFACE_FRESH;
    put(&w, VD_EVENT_surface, &done, sizeof(done), 0);
    return w.used;
}
