/* SPDX-License-Identifier: MIT */
#include <va/va.h>
#include <wire/format.h>

#include "fuzz.h"
#include "vpp/vpp.h"

/*
 * The video processor with any parameters over small pictures, some calls with one processor.
 * Input, a call: formats and sizes, then pipelines with their fields and filters as they come.
 * Pictures have memory of just the size of their layout.
 */

#define MAX_CALLS     8
#define MAX_PIPELINES 3
#define MAX_FILTERS   4
#define MAX_SIZE      96

struct fuzz_picture {
    struct pixels pixels;
    struct format_layout layout;
};

static void picture_make(struct fuzz_input *input, uint32_t fourcc, struct fuzz_picture *p)
{
    uint8_t fill;

    memset(p, 0, sizeof(*p));
    p->pixels.format = format_find(fourcc);
    p->pixels.width = 1 + fuzz_byte(input) % MAX_SIZE;
    p->pixels.height = 1 + fuzz_byte(input) % MAX_SIZE;
    fill = fuzz_byte(input);
    if (!p->pixels.format ||
        format_layout(p->pixels.format, p->pixels.width, p->pixels.height, &p->layout) ||
        posix_memalign((void **)&p->pixels.bytes, 64, p->layout.size))
        abort();
    p->pixels.layout = &p->layout;
    for (size_t i = 0; i < p->layout.size; i++)
        p->pixels.bytes[i] = (uint8_t)(fill + i * (fill & 7));
}

/* Places are small numbers often enough to matter, or anything. */
static uint32_t place(struct fuzz_input *input)
{
    uint8_t kind = fuzz_byte(input);
    uint32_t value;

    if (kind < 200)
        return (uint32_t)(kind % 128) - 16;
    fuzz_take(input, &value, sizeof(value));
    return value;
}

static uint32_t fourcc_of(struct fuzz_input *input)
{
    uint32_t formats[VD_MAX_CAP_FORMATS];
    uint32_t count = vpp_formats(formats, VD_MAX_CAP_FORMATS);
    uint8_t which = fuzz_byte(input);

    /* Now and then one that is not offered. */
    return which == 255 ? VA_FOURCC_411P : formats[which % count];
}

static void run_call(struct fuzz_input *input, struct vpp *vpp)
{
    struct fuzz_picture target, pictures[MAX_PIPELINES * 3];
    struct vd_proc_filter *filters = calloc(MAX_PIPELINES * MAX_FILTERS, sizeof(*filters));
    struct vd_proc_pipeline *params = calloc(MAX_PIPELINES, sizeof(*params));
    struct vpp_pipeline *pipelines = calloc(MAX_PIPELINES, sizeof(*pipelines));
    uint32_t count = 1 + fuzz_byte(input) % MAX_PIPELINES, made = 0;

    if (!filters || !params || !pipelines)
        abort();
    picture_make(input, fourcc_of(input), &target);
    for (uint32_t i = 0; i < count; i++) {
        struct vpp_pipeline *p = &pipelines[i];
        uint32_t fourcc = fourcc_of(input);

        fuzz_take(input, &params[i].flags, 1);
        params[i].flags &= VD_PROC_FLAGS;
        for (int j = 0; j < 4; j++) {
            params[i].source[j] = place(input);
            params[i].dest[j] = place(input);
            /* Large pictures are slow, and no different. */
            if (j > 1 && params[i].dest[j] <= VD_MAX_SURFACE_SIZE)
                params[i].dest[j] %= 512;
        }
        params[i].surface_standard = fuzz_byte(input) % 16;
        params[i].output_standard = fuzz_byte(input) % 16;
        for (int j = 0; j < VD_PROC_COLOR_FIELDS; j++) {
            params[i].input_color[j] = fuzz_byte(input) % 20;
            params[i].output_color[j] = fuzz_byte(input) % 20;
        }
        fuzz_take(input, &params[i].background, 4);
        params[i].filter_flags = fuzz_word(input);
        params[i].rotation = fuzz_byte(input) % 5;
        params[i].mirror = fuzz_byte(input) % 4;
        params[i].blend_flags = fuzz_byte(input) % 4;
        fuzz_take(input, &params[i].global_alpha, 4);
        fuzz_take(input, params[i].output_hdr, sizeof(params[i].output_hdr));
        params[i].filter_count = fuzz_byte(input) % (MAX_FILTERS + 1);
        p->params = &params[i];
        p->filters = filters + i * MAX_FILTERS;
        for (uint32_t j = 0; j < params[i].filter_count; j++) {
            struct vd_proc_filter *f = &filters[i * MAX_FILTERS + j];

            f->type = fuzz_byte(input) % 9;
            f->algorithm = fuzz_byte(input) % 6;
            f->filter_flags = fuzz_byte(input) % 8;
            fuzz_take(input, &f->value, 4);
            f->hdr[8] = fuzz_word(input) * 10000u;
            f->hdr[10] = fuzz_word(input);
        }
        picture_make(input, fourcc, &pictures[made]);
        p->input = pictures[made++].pixels;
        p->input.layout = &pictures[made - 1].layout;
        params[i].forward_count = fuzz_byte(input) % 2;
        params[i].backward_count = fuzz_byte(input) % 2;
        if (params[i].forward_count) {
            picture_make(input, fourcc, &pictures[made]);
            p->forward[0] = pictures[made++].pixels;
        }
        if (params[i].backward_count) {
            picture_make(input, fourcc, &pictures[made]);
            p->backward[0] = pictures[made++].pixels;
        }
    }
    vpp_run(vpp, &target.pixels, NULL, pipelines, count);
    free(target.pixels.bytes);
    while (made)
        free(pictures[--made].pixels.bytes);
    free(filters);
    free(params);
    free(pipelines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.data = data, .size = size};
    struct vpp *vpp;

    if (vpp_create(1 + fuzz_byte(&input) % 2, &vpp))
        return 0;
    for (unsigned i = 0; i < MAX_CALLS && input.size > 0; i++)
        run_call(&input, vpp);
    vpp_destroy(vpp);
    return 0;
}
