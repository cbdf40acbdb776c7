/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <va/va_vpp.h>

/* Sessions with the back end that processes in software, and with one that decodes nothing. */

#define PROC    0x20000001u
#define SURFACE 0x30000000u
#define SIZE    32

static struct guest g;
static struct format_layout layout;

static int open_context(void)
{
    struct vd_context_create_req req = {
        .context = PROC,
        .profile = (uint32_t)VAProfileNone,
        .entrypoint = VAEntrypointVideoProc,
        .rt_formats = VA_RT_FORMAT_YUV420,
        .width = SIZE,
        .height = SIZE,
    };
    struct vd_context_create_rep rep;
    int err = guest_call(&g, VD_OP_context_create, &req, NULL, 0, &rep);

    return err ? err : -(int)rep.status;
}

static int setup(void **state)
{
    (void)state;
    memset(&g, 0, sizeof(g));
    g.arena.fd = -1;
    g.backends =
        (struct backend_set){.at = {{.backend = &backend_filter}}, .count = 1, .name = "filter"};
    g.limits = (struct session_limits){.contexts = 4, .surfaces = 40, .bytes = 64 << 20};
    if (backend_filter.probe && backend_filter.probe(&(struct backend_options){0}))
        return 1;
    if (format_layout(format_find(VA_FOURCC_Y800), SIZE, SIZE, &layout))
        return 1;
    if (mem_create_pair(&g.channel, &g.host_end))
        return 1;
    message_init(&g.reader, g.channel);
    g.running = pthread_create(&g.thread, NULL, guest_serve, &g) == 0;
    return guest_hello(&g) || open_context() ||
           guest_surfaces_of(&g, VA_FOURCC_Y800, SIZE, SIZE, SURFACE, 3);
}

static int teardown(void **state)
{
    (void)state;
    return guest_stop(&g);
}

static uint8_t *map(uint32_t surface)
{
    struct vd_surface_back_req req = {.surface = surface};
    struct vd_surface_back_rep rep;

    assert_int_equal(guest_call(&g, VD_OP_surface_back, &req, NULL, 0, &rep), 0);
    assert_int_equal(rep.status, 0);
    return g.arena.base + g.arena.status->backings[rep.backing].offset;
}

/* The surface `from` to the square of 8 x 8 at x, y of the target. */
static void draw(uint32_t from, uint32_t to, uint32_t sequence, uint32_t flags, uint32_t x,
                 uint32_t y)
{
    struct vd_proc_pipeline p = {
        .surface = from, .flags = VD_PROC_DEST, .dest = {x, y, 8, 8}, .background = 0};
    struct vd_submit_req req = {.context = PROC,
                                .surface = to,
                                .sequence = sequence,
                                .flags = flags,
                                .submission = ++g.submission};
    struct vd_buffer_ref ref = guest_buffer(&g, VAProcPipelineParameterBufferType, &p, sizeof(p));

    assert_int_equal(guest_oneway(&g, VD_OP_submit, &req, &ref, 1), 0);
}

static uint8_t at(const uint8_t *bytes, uint32_t x, uint32_t y)
{
    return bytes[layout.offset[0] + y * layout.pitch[0] + x];
}

/* Pictures that are drawn one after the other into a surface stay, whoever looks on. */
static void test_one_after_the_other(void **state)
{
    (void)state;
    for (int fixed = 0; fixed < 2; fixed++) {
        const uint32_t to = SURFACE + 1 + (uint32_t)fixed;
        const uint32_t flags = fixed ? VD_SUBMIT_FIXED : 0;
        const uint8_t *bytes = fixed ? map(to) : NULL;

        memset(map(SURFACE), 200, layout.size);
        draw(SURFACE, to, 1, flags, 0, 0);
        draw(SURFACE, to, 2, flags, 16, 8);
        draw(SURFACE, to, 3, flags, 24, 24);
        assert_int_equal(guest_kick(&g, PROC, 3 * (uint32_t)(fixed + 1)), 0);
        assert_int_equal(guest_wait(&g, to, 3), 0);
        if (!fixed)
            bytes = guest_pixels(&g, to);
        for (uint32_t y = 0; y < SIZE; y++) {
            for (uint32_t x = 0; x < SIZE; x++) {
                bool drawn = (x < 8 && y < 8) || (x >= 16 && x < 24 && y >= 8 && y < 16) ||
                             (x >= 24 && y >= 24);

                assert_in_range(at(bytes, x, y), drawn ? 199 : 0, drawn ? 201 : 16);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_after_the_other, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
