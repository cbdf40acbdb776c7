/* SPDX-License-Identifier: MIT */
#include "encoder_jpeg.h"

#include <stdio.h>

#include <jpeglib.h>
#include <libavutil/pixdesc.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "encoder_input.h"
#include "jpeg.h"

#define FIRST_BYTES (256u << 10)

struct encoder_jpeg {
    struct jpeg_compress_struct compress;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr destination;
    jmp_buf failed;
    struct encoder_input input;
    uint8_t *bytes;
    size_t room;
};

static _Noreturn void error_exit(j_common_ptr compress)
{
    struct encoder_jpeg *self = compress->client_data;

    longjmp(self->failed, 1);
}

static void output_message(j_common_ptr compress)
{
    char text[JMSG_LENGTH_MAX];

    compress->err->format_message(compress, text);
    log_debug("libjpeg: %s", text);
}

static void destination_start(j_compress_ptr compress)
{
    struct encoder_jpeg *self = compress->client_data;

    self->destination.next_output_byte = self->bytes;
    self->destination.free_in_buffer = self->room;
}

/* The buffer is full: it becomes twice as large. */
static boolean destination_grow(j_compress_ptr compress)
{
    struct encoder_jpeg *self = compress->client_data;
    uint8_t *bytes = self->room < VD_MAX_CODED_BYTES ? realloc(self->bytes, 2 * self->room) : NULL;

    if (!bytes)
        longjmp(self->failed, 1);
    self->bytes = bytes;
    self->destination.next_output_byte = bytes + self->room;
    self->destination.free_in_buffer = self->room;
    self->room *= 2;
    return TRUE;
}

static void destination_end(j_compress_ptr compress)
{
    (void)compress;
}

/* What runs between setjmp and longjmp is apart: variables do not survive it. */
static bool start(struct encoder_jpeg *self)
{
    if (setjmp(self->failed))
        return false;
    jpeg_create_compress(&self->compress);
    return true;
}

struct encoder_jpeg *encoder_jpeg_create(void)
{
    struct encoder_jpeg *self = calloc(1, sizeof(*self));

    if (!self)
        return NULL;
    self->compress.err = jpeg_std_error(&self->errors);
    self->errors.error_exit = error_exit;
    self->errors.output_message = output_message;
    self->compress.client_data = self;
    self->room = FIRST_BYTES;
    self->bytes = malloc(self->room);
    if (!self->bytes || !start(self)) {
        free(self->bytes);
        free(self);
        return NULL;
    }
    self->destination.init_destination = destination_start;
    self->destination.empty_output_buffer = destination_grow;
    self->destination.term_destination = destination_end;
    self->compress.dest = &self->destination;
    return self;
}

void encoder_jpeg_destroy(struct encoder_jpeg *self)
{
    if (!self)
        return;
    jpeg_destroy_compress(&self->compress);
    encoder_input_finish(&self->input);
    free(self->bytes);
    free(self);
}

/* The planes that keep a surface's chroma. */
static enum AVPixelFormat planes_for(uint32_t fourcc, int components)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(encoder_input_format(fourcc));

    if (!format)
        return AV_PIX_FMT_NONE;
    if (components == 1 || format->nb_components == 1)
        return AV_PIX_FMT_GRAY8;
    if (format->flags & AV_PIX_FMT_FLAG_RGB)
        return AV_PIX_FMT_YUV420P;
    if (format->log2_chroma_h)
        return AV_PIX_FMT_YUV420P;
    return format->log2_chroma_w ? AV_PIX_FMT_YUV422P : AV_PIX_FMT_YUV444P;
}

static void set_up(struct encoder_jpeg *self, const struct encode_request *request,
                   enum AVPixelFormat planes)
{
    const struct jpeg_request *own = (const void *)request->own;
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(planes);
    struct jpeg_compress_struct *c = &self->compress;

    c->image_width = request->tools.width;
    c->image_height = request->tools.height;
    c->input_components = format->nb_components;
    c->in_color_space = c->input_components == 1 ? JCS_GRAYSCALE : JCS_YCbCr;
    jpeg_set_defaults(c);
    for (int i = 0; i < 2; i++) {
        unsigned table[64];

        for (int j = 0; j < 64; j++)
            table[j] = own->quantiser[i][j];
        jpeg_add_quant_table(c, i, table, 100, TRUE);
    }
    for (int i = 0; i < c->num_components; i++)
        c->comp_info[i].quant_tbl_no = own->selector[i] & 1;
    c->comp_info[0].h_samp_factor = 1 << format->log2_chroma_w;
    c->comp_info[0].v_samp_factor = 1 << format->log2_chroma_h;
    for (int i = 1; i < c->num_components; i++)
        c->comp_info[i].h_samp_factor = c->comp_info[i].v_samp_factor = 1;
    c->restart_interval = own->restart_interval;
    c->dct_method = JDCT_ISLOW;
    c->raw_data_in = TRUE;
}

static void write_rows(struct encoder_jpeg *self, const AVFrame *frame)
{
    struct jpeg_compress_struct *c = &self->compress;

    while (c->next_scanline < c->image_height) {
        JSAMPROW rows[3][2 * DCTSIZE];
        JSAMPARRAY planes[3] = {rows[0], rows[1], rows[2]};

        for (int i = 0; i < c->num_components; i++) {
            int count = c->comp_info[i].v_samp_factor * DCTSIZE;
            int first =
                (int)(c->next_scanline / (unsigned)(c->max_v_samp_factor * DCTSIZE)) * count;

            for (int y = 0; y < count; y++)
                rows[i][y] = frame->data[i] + (ptrdiff_t)(first + y) * frame->linesize[i];
        }
        jpeg_write_raw_data(c, planes, (JDIMENSION)(c->max_v_samp_factor * DCTSIZE));
    }
}

static bool compress(struct encoder_jpeg *self, const struct encode_request *request,
                     const AVFrame *frame)
{
    if (setjmp(self->failed)) {
        jpeg_abort_compress(&self->compress);
        return false;
    }
    set_up(self, request, frame->format);
    jpeg_start_compress(&self->compress, TRUE);
    write_rows(self, frame);
    jpeg_finish_compress(&self->compress);
    return true;
}

int encoder_jpeg_run(struct encoder_jpeg *self, const struct encode_request *request,
                     const struct pixels *pixels, struct encode_packet *ret_packet)
{
    const struct jpeg_request *own = (const void *)request->own;
    enum AVPixelFormat planes = planes_for(pixels->format->fourcc, own->components);
    AVFrame *frame = NULL;
    int err;

    /* libjpeg reads whole blocks. */
    err = planes == AV_PIX_FMT_NONE
              ? VD_ERR_UNSUPPORTED
              : encoder_input_take(&self->input, pixels, (request->tools.width + 15) / 16 * 16,
                                   (request->tools.height + 15) / 16 * 16, planes, false, true,
                                   &frame);
    if (err)
        return err;
    err = compress(self, request, frame) ? 0 : VD_ERR_DECODE;
    encoder_input_drop(&self->input);
    if (err)
        return err;
    ret_packet->data = self->bytes;
    ret_packet->size = self->room - self->destination.free_in_buffer;
    return 0;
}
