/* SPDX-License-Identifier: MIT */
#include "convert.h"

#include <string.h>
#include <va/va.h>

#include "convert_rows.h"

/* By what planes there are and how chroma is subsampled; a bit each. */
enum {
    KIND_GREY = 1,
    KIND_420 = 2,
    KIND_422 = 4,
    KIND_440 = 8,
    KIND_411 = 16,
    KIND_444 = 32,
    KIND_RGB = 64,
};

/* Pairs of pixels, or means of chroma, that are worked on at a time: they stay in the cache. */
#define CONVERT_BATCH 256

struct convert_job {
    const struct convert_way *way;
    const struct convert_samples *samples;
    const struct convert_source *from;
    const struct format_info *format;
    const struct format_layout *layout;
    const struct convert_rows *rows;
    uint8_t *to;
    uint32_t width, height;
};

static const uint8_t *source_row(const struct convert_job *job, int plane, uint32_t y)
{
    return job->from->plane[plane] + (ptrdiff_t)y * job->from->stride[plane];
}

static uint8_t *surface_row(const struct convert_job *job, int plane, uint32_t y)
{
    return job->to + job->layout->offset[plane] + (size_t)y * job->layout->pitch[plane];
}

static uint32_t shifted(uint32_t size, uint8_t shift)
{
    return (size + (1u << shift) - 1) >> shift;
}

/* Formats with more bits than the decoder's samples have them at the upper end of the word. */
static int to_top(const struct convert_job *job)
{
    return 16 - job->samples->bits;
}

static void run_nv12(const struct convert_job *job)
{
    uint32_t columns = shifted(job->width, 1), rows = shifted(job->height, 1);

    for (uint32_t y = 0; y < rows; y++)
        job->rows->pair8(surface_row(job, 1, y), source_row(job, 1, y), source_row(job, 2, y),
                         columns);
}

static void shift_luma(const struct convert_job *job)
{
    for (uint32_t y = 0; y < job->height; y++)
        job->rows->shift16(surface_row(job, 0, y), source_row(job, 0, y), job->width, to_top(job));
}

static void run_p01x(const struct convert_job *job)
{
    uint32_t columns = shifted(job->width, 1), rows = shifted(job->height, 1);

    shift_luma(job);
    for (uint32_t y = 0; y < rows; y++)
        job->rows->pair16(surface_row(job, 1, y), source_row(job, 1, y), source_row(job, 2, y),
                          columns, to_top(job));
}

/* Chroma of grey pictures: the middle of the range. */
static void fill_chroma(const struct convert_job *job, uint16_t middle)
{
    for (int i = 1; i < job->format->planes; i++) {
        uint32_t bytes = format_row_bytes(job->format, i, job->width);
        uint32_t rows = format_rows(job->format, i, job->height);

        for (uint32_t y = 0; y < rows; y++) {
            uint8_t *row = surface_row(job, i, y);

            if (job->format->sample_bytes == 1) {
                memset(row, middle, bytes);
                continue;
            }
            for (uint32_t x = 0; x < bytes; x += 2)
                memcpy(row + x, &middle, 2);
        }
    }
}

static void run_grey(const struct convert_job *job)
{
    fill_chroma(job, (uint16_t)(1u << (job->samples->bits - 1)));
}

static void run_grey_p01x(const struct convert_job *job)
{
    shift_luma(job);
    fill_chroma(job, 0x8000);
}

/* Packed 4:2:2. at[0]: place of the first luma sample in bits. */
static void run_yuy2(const struct convert_job *job)
{
    uint32_t pairs = job->width / 2;

    for (uint32_t y = 0; y < job->height; y++) {
        const uint8_t *luma = source_row(job, 0, y);
        const uint8_t *u = source_row(job, 1, y), *v = source_row(job, 2, y);
        uint8_t *row = surface_row(job, 0, y);
        int luma_at = job->way->at[0];

        job->rows->quad8(row, luma, u, v, pairs, luma_at);
        if (job->width % 2) {
            /* There is no second pixel: it is the first again. */
            const uint8_t last[2] = {luma[2 * pairs], luma[2 * pairs]};

            job->rows->quad8(row + 4 * (size_t)pairs, last, u + pairs, v + pairs, 1, luma_at);
        }
    }
}

static void run_y21x(const struct convert_job *job)
{
    size_t pairs = job->width / 2;

    for (uint32_t y = 0; y < job->height; y++) {
        const uint8_t *luma = source_row(job, 0, y);
        const uint8_t *u = source_row(job, 1, y), *v = source_row(job, 2, y);
        uint8_t *row = surface_row(job, 0, y);

        job->rows->quad16(row, luma, u, v, pairs, to_top(job));
        if (job->width % 2) {
            uint8_t last[4];

            memcpy(last, luma + 4 * pairs, 2);
            memcpy(last + 2, luma + 4 * pairs, 2);
            job->rows->quad16(row + 8 * pairs, last, u + 2 * pairs, v + 2 * pairs, 1, to_top(job));
        }
    }
}

/* Packed 4:4:4 and RGB. at[]: places in bits of the decoder's planes, then of alpha. */
static void run_word8(const struct convert_job *job)
{
    const uint8_t *at = job->way->at;
    const int places[3] = {at[0], at[1], at[2]};

    for (uint32_t y = 0; y < job->height; y++)
        job->rows->word8(surface_row(job, 0, y), source_row(job, 0, y), source_row(job, 1, y),
                         source_row(job, 2, y), job->width, places, UINT32_C(0xff) << at[3]);
}

static void run_y410(const struct convert_job *job)
{
    const int up = 10 - job->samples->bits;
    const int places[3] = {10 + up, 0 + up, 20 + up};

    for (uint32_t y = 0; y < job->height; y++)
        job->rows->word16(surface_row(job, 0, y), source_row(job, 0, y), source_row(job, 1, y),
                          source_row(job, 2, y), job->width, places, UINT32_C(3) << 30);
}

/* at[0]: bits of a sample of the format, which alpha has, too. */
static void run_y41x(const struct convert_job *job)
{
    const uint64_t opaque = UINT64_C(0xffff) << (16 - job->way->at[0]) & 0xffff;
    const int up = to_top(job);
    const int places[3] = {16 + up, 0 + up, 32 + up};

    for (uint32_t y = 0; y < job->height; y++)
        job->rows->long16(surface_row(job, 0, y), source_row(job, 0, y), source_row(job, 1, y),
                          source_row(job, 2, y), job->width, places, opaque << 48);
}

/*
 * One batch of 4:2:0 chroma of plane `plane` from finer chroma: `n` samples from column `x` on,
 * of row `y`. Past the last row or column of the source that one counts twice.
 */
static void mean_chroma(const struct convert_job *job, int plane, uint32_t x, uint32_t y,
                        uint32_t n, uint8_t *to)
{
    const uint8_t shift_w = job->samples->shift_w, shift_h = job->samples->shift_h;
    const uint32_t columns = shifted(job->width, shift_w), rows = shifted(job->height, shift_h);
    uint8_t mean[2 * CONVERT_BATCH];
    const uint8_t *from;
    uint32_t first, count;

    /* Samples of the source this batch needs, and how many of those there are. */
    first = shift_w == 2 ? x / 2 : shift_w == 1 ? x : 2 * x;
    count = shift_w == 2 ? (x + n + 1) / 2 - first : shift_w == 1 ? n : 2 * n;
    if (count > columns - first)
        count = columns - first;
    from = source_row(job, plane, shift_h ? y : 2 * y) + first;
    if (!shift_h) {
        const uint8_t *below = source_row(job, plane, 2 * y + 1 < rows ? 2 * y + 1 : 2 * y) + first;

        job->rows->mean_rows(mean, from, below, count);
        from = mean;
    }
    if (shift_w == 2) {
        for (uint32_t i = 0; i < n; i++)
            to[i] = from[(x + i) / 2 - first];
    } else if (shift_w == 1) {
        memcpy(to, from, n);
    } else {
        job->rows->mean_neighbours(to, from, count / 2);
        if (count % 2)
            to[n - 1] = from[count - 1];
    }
}

static void run_mean_nv12(const struct convert_job *job)
{
    uint32_t columns = shifted(job->width, 1), rows = shifted(job->height, 1);
    uint8_t u[CONVERT_BATCH], v[CONVERT_BATCH];

    for (uint32_t y = 0; y < rows; y++) {
        for (uint32_t x = 0; x < columns; x += CONVERT_BATCH) {
            uint32_t n = columns - x < CONVERT_BATCH ? columns - x : CONVERT_BATCH;

            mean_chroma(job, 1, x, y, n, u);
            mean_chroma(job, 2, x, y, n, v);
            job->rows->pair8(surface_row(job, 1, y) + 2 * (size_t)x, u, v, n);
        }
    }
}

/*
 * Packed formats of 32 bits as bytes in memory, from libva's va.h, except that AYUV and XYUV are
 * what drivers and programs make of them, V U Y A (DRM_FORMAT_AYUV, FFmpeg's VUYX). Words of Y410,
 * Y412 and Y416 have U in the lowest bits.
 *
 * P010 and Y210 have room for 16 bits: programs that know no wider format (FFmpeg 5.1) get 12 in
 * the upper ones, and see the upper 10.
 */
static const struct convert_way convert_ways[] = {
    {VA_FOURCC_I420, KIND_420, 8, 8, {0, 1, 2}, NULL, {0}},
    {VA_FOURCC_NV12, KIND_420, 8, 8, {0, -1, -1}, run_nv12, {0}},
    {VA_FOURCC_I010, KIND_420, 10, 10, {0, 1, 2}, NULL, {0}},
    {VA_FOURCC_P010, KIND_420, 9, 12, {-1, -1, -1}, run_p01x, {0}},
    {VA_FOURCC_P012, KIND_420, 9, 12, {-1, -1, -1}, run_p01x, {0}},
    {VA_FOURCC_P016, KIND_420, 9, 16, {-1, -1, -1}, run_p01x, {0}},
    {VA_FOURCC_Y800, KIND_GREY, 8, 8, {0}, NULL, {0}},
    {VA_FOURCC_I420, KIND_GREY, 8, 8, {0}, run_grey, {0}},
    {VA_FOURCC_NV12, KIND_GREY, 8, 8, {0}, run_grey, {0}},
    {VA_FOURCC_I010, KIND_GREY, 10, 10, {0}, run_grey, {0}},
    {VA_FOURCC_P010, KIND_GREY, 9, 12, {-1}, run_grey_p01x, {0}},
    {VA_FOURCC_P012, KIND_GREY, 9, 12, {-1}, run_grey_p01x, {0}},
    {VA_FOURCC_P016, KIND_GREY, 9, 16, {-1}, run_grey_p01x, {0}},
    {VA_FOURCC_422H, KIND_422, 8, 8, {0, 1, 2}, NULL, {0}},
    {VA_FOURCC_YUY2, KIND_422, 8, 8, {-1, -1, -1}, run_yuy2, {0}},
    {VA_FOURCC_UYVY, KIND_422, 8, 8, {-1, -1, -1}, run_yuy2, {8}},
    {VA_FOURCC_Y210, KIND_422, 9, 12, {-1, -1, -1}, run_y21x, {0}},
    {VA_FOURCC_Y212, KIND_422, 9, 12, {-1, -1, -1}, run_y21x, {0}},
    {VA_FOURCC_Y216, KIND_422, 9, 16, {-1, -1, -1}, run_y21x, {0}},
    {VA_FOURCC_422V, KIND_440, 8, 8, {0, 1, 2}, NULL, {0}},
    {VA_FOURCC_411P, KIND_411, 8, 8, {0, 1, 2}, NULL, {0}},
    /* GBR in a 4:4:4 surface is what hardware decoders give: they know of no matrix. */
    {VA_FOURCC_444P, KIND_444 | KIND_RGB, 8, 8, {0, 1, 2}, NULL, {0}},
    {VA_FOURCC_AYUV, KIND_444 | KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {16, 8, 0, 24}},
    {VA_FOURCC_XYUV, KIND_444 | KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {16, 8, 0, 24}},
    {VA_FOURCC_Y410, KIND_444 | KIND_RGB, 9, 10, {-1, -1, -1}, run_y410, {0}},
    {VA_FOURCC_Y412, KIND_444 | KIND_RGB, 9, 12, {-1, -1, -1}, run_y41x, {12}},
    {VA_FOURCC_Y416, KIND_444 | KIND_RGB, 9, 16, {-1, -1, -1}, run_y41x, {16}},
    {VA_FOURCC_RGBP, KIND_RGB, 8, 8, {1, 2, 0}, NULL, {0}},
    {VA_FOURCC_BGRA, KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {8, 0, 16, 24}},
    {VA_FOURCC_BGRX, KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {8, 0, 16, 24}},
    {VA_FOURCC_RGBA, KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {8, 16, 0, 24}},
    {VA_FOURCC_RGBX, KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {8, 16, 0, 24}},
    {VA_FOURCC_ARGB, KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {16, 24, 8, 0}},
    {VA_FOURCC_XRGB, KIND_RGB, 8, 8, {-1, -1, -1}, run_word8, {16, 24, 8, 0}},
    /* The lossy ones. */
    {VA_FOURCC_NV12,
     KIND_422 | KIND_440 | KIND_411 | KIND_444,
     8,
     8,
     {0, -1, -1},
     run_mean_nv12,
     {0}},
};

static unsigned kind_of(const struct convert_samples *samples)
{
    static const unsigned subsampled[3][2] = {
        {KIND_444, KIND_440}, {KIND_422, KIND_420}, {KIND_411, 0}};

    if (samples->planes == 1)
        return KIND_GREY;
    if (samples->planes != 3 || samples->shift_w > 2 || samples->shift_h > 1)
        return 0;
    if (samples->rgb)
        return samples->shift_w || samples->shift_h ? 0 : KIND_RGB;
    return subsampled[samples->shift_w][samples->shift_h];
}

const struct convert_way *convert_find(const struct convert_samples *samples, uint32_t fourcc)
{
    unsigned kind = kind_of(samples);

    for (size_t i = 0; i < sizeof(convert_ways) / sizeof(convert_ways[0]); i++) {
        const struct convert_way *way = &convert_ways[i];

        if (way->fourcc == fourcc && way->kind & kind && samples->bits >= way->min_bits &&
            samples->bits <= way->max_bits)
            return way;
    }
    return NULL;
}

void convert_run(const struct convert_way *way, const struct convert_samples *samples,
                 const struct convert_source *from, const struct format_info *format,
                 const struct format_layout *layout, uint8_t *to, uint32_t width, uint32_t height)
{
    const struct convert_job job = {
        .way = way,
        .samples = samples,
        .from = from,
        .format = format,
        .layout = layout,
        .rows = convert_rows(),
        .to = to,
        .width = width,
        .height = height,
    };

    if (way->run)
        way->run(&job);
}
