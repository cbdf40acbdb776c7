/* SPDX-License-Identifier: MIT */
#include <va/va.h>
#include <va/va_enc_h264.h>

#include "encode/h264.h"
#include "fuzz.h"

/*
 * A few pictures of an app and packets of an encoder, any of both: `read` and `write` of
 * encode_h264 with their state kept. What is written must be readable: sets, and slices under them.
 *
 * Input, a picture: flags, structs (the fields that matter), headers, a misc buffer, the packet.
 */

#define MAX_PICTURES 8
#define MAX_HEADERS  8
#define MAX_SLICES   4
#define MOST_HEADER  256
#define MOST_PACKET  4096
#define MISC_BYTES   160
#define SIDE         64u

enum {
    WITH_SEQUENCE = 1,
    SMALL_ROOM = 2,
    WITH_MISC = 4,
    SANE = 8, /* an SPS can be made */
};

struct run {
    void *read_state, *write_state;
    struct h264_sets sets; /* as a decoder has them */
    bool lost;             /* something was refused: sets may be missing */
};

static void *exact(const void *bytes, size_t size)
{
    void *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

static void take_sequence(struct fuzz_input *input, uint8_t flags,
                          VAEncSequenceParameterBufferH264 *seq)
{
    size_t tail = offsetof(VAEncSequenceParameterBufferH264, frame_cropping_flag);

    memset(seq, 0, sizeof(*seq));
    fuzz_take(input, seq, offsetof(VAEncSequenceParameterBufferH264, offset_for_ref_frame));
    fuzz_take(input, (uint8_t *)seq + tail,
              offsetof(VAEncSequenceParameterBufferH264, va_reserved) - tail);
    if (!(flags & SANE))
        return;
    seq->seq_parameter_set_id %= 32;
    seq->picture_width_in_mbs = (uint16_t)(seq->picture_width_in_mbs % 512 + 1);
    seq->picture_height_in_mbs = (uint16_t)(seq->picture_height_in_mbs % 512 + 1);
    seq->seq_fields.bits.frame_mbs_only_flag = 1;
    seq->seq_fields.bits.chroma_format_idc = 1;
    seq->seq_fields.bits.pic_order_cnt_type &= 2;
    seq->seq_fields.bits.log2_max_frame_num_minus4 %= 13;
    seq->seq_fields.bits.log2_max_pic_order_cnt_lsb_minus4 %= 13;
    seq->bit_depth_luma_minus8 = seq->bit_depth_chroma_minus8 = 0;
}

static void take_picture(struct fuzz_input *input, VAEncPictureParameterBufferH264 *pic)
{
    size_t tail = offsetof(VAEncPictureParameterBufferH264, pic_parameter_set_id);

    memset(pic, 0, sizeof(*pic));
    pic->CurrPic.picture_id = fuzz_byte(input) & 3;
    for (unsigned i = 0; i < 16; i++)
        pic->ReferenceFrames[i].flags = VA_PICTURE_H264_INVALID;
    pic->ReferenceFrames[0] = (VAPictureH264){.picture_id = fuzz_byte(input) & 3};
    fuzz_take(input, (uint8_t *)pic + tail,
              offsetof(VAEncPictureParameterBufferH264, va_reserved) - tail);
}

static void take_slice(struct fuzz_input *input, VAEncSliceParameterBufferH264 *slice)
{
    size_t tail = offsetof(VAEncSliceParameterBufferH264, cabac_init_idc);

    memset(slice, 0, sizeof(*slice));
    fuzz_take(input, slice, offsetof(VAEncSliceParameterBufferH264, RefPicList0));
    slice->RefPicList0[0].picture_id = fuzz_byte(input) & 3;
    slice->RefPicList0[0].flags = fuzz_byte(input) & VA_PICTURE_H264_INVALID;
    fuzz_take(input, (uint8_t *)slice + tail,
              offsetof(VAEncSliceParameterBufferH264, va_reserved) - tail);
}

static void take_header(struct fuzz_input *input, struct encode_header *header)
{
    uint8_t kind = fuzz_byte(input), bytes[MOST_HEADER];
    uint16_t size = fuzz_word(input) % (MOST_HEADER + 1);

    fuzz_take(input, bytes, size);
    *header = (struct encode_header){
        .type = kind % 6,
        .escaped = kind & 0x80,
        .bits = size * 8u - (size ? kind >> 3 & 7u : 0u),
        .bytes = exact(bytes, size),
    };
}

/* A decoder could read it, and it is the picture that the app wanted. */
static void check(struct run *run, const struct encode_request *request, const uint8_t *bytes,
                  size_t size)
{
    const struct h264_own *own = (const struct h264_own *)request->own;
    struct h264_nals nals = {.data = bytes, .size = size, .escaped = true};
    unsigned slices = 0;
    struct h264_nal nal;

    while (h264_nal_next(&nals, &nal)) {
        struct h264_slice slice;

        if (nal.data - bytes < 4 || memcmp(nal.data - 4, "\0\0\0\1", 4) != 0)
            abort();
        if (h264_nal_type(&nal) != H264_NAL_SLICE && h264_nal_type(&nal) != H264_NAL_IDR) {
            if (h264_sets_read(&run->sets, &nal, NULL))
                abort();
            continue;
        }
        slices++;
        if (run->lost)
            continue;
        if (h264_slice_read(&run->sets, &nal, &slice))
            abort();
        if (memcmp(&slice.picture.mmco, &own->picture.mmco, sizeof(own->picture.mmco)) != 0 ||
            slice.picture.idr != own->picture.idr ||
            slice.picture.ref_idc != own->picture.ref_idc ||
            slice.picture.frame_num != own->picture.frame_num)
            abort();
    }
    if (!slices)
        abort();
}

static void write_packet(struct run *run, struct fuzz_input *input, uint8_t flags,
                         const struct encode_request *request)
{
    uint8_t bytes[MOST_PACKET];
    uint16_t size = fuzz_word(input) % (MOST_PACKET + 1);
    struct encode_packet packet = {.size = size};
    struct encode_output output = {.room = flags & SMALL_ROOM ? 100 : 65536};

    fuzz_take(input, bytes, size);
    packet.data = exact(bytes, size);
    output.bytes = malloc(output.room);
    if (!output.bytes)
        abort();
    if (encode_h264.write(run->write_state, request, &packet, &output)) {
        if (output.size)
            abort();
        run->lost = true;
    } else if (output.size > output.room) {
        run->lost = true;
    } else {
        check(run, request, output.bytes, output.size);
    }
    free((void *)(uintptr_t)packet.data);
    free(output.bytes);
}

static void check_request(const struct encode_request *request)
{
    if (!request->qp || request->qp > 51 || !request->tools.width || !request->tools.height ||
        request->tools.width > SIDE || request->tools.height > SIDE || !request->tools.slices ||
        !request->rate.frame_rate_den || request->type > ENCODE_P)
        abort();
}

static void run_picture(struct run *run, struct fuzz_input *input)
{
    struct encode_request *request = calloc(1, sizeof(*request));
    struct encode_header headers[MAX_HEADERS];
    VAEncSequenceParameterBufferH264 seq;
    VAEncPictureParameterBufferH264 pic;
    const void *slices[MAX_SLICES];
    uint8_t flags = fuzz_byte(input), misc_bytes[MISC_BYTES];
    struct encode_picture picture = {
        .width = SIDE, .height = SIDE, .surface_width = SIDE, .surface_height = SIDE};
    struct encode_misc misc = {0};

    if (!request)
        abort();
    picture.profile = flags & 0x40 ? VAProfileH264High : VAProfileH264ConstrainedBaseline;
    picture.rate_control = flags & 0x20 ? VA_RC_CQP : VA_RC_CBR;
    picture.packed_headers = flags & 0x10 ? 0x1f : 0;
    if (flags & WITH_SEQUENCE) {
        take_sequence(input, flags, &seq);
        picture.param[ENCODE_PARAM_SEQUENCE] = exact(&seq, sizeof(seq));
    }
    take_picture(input, &pic);
    picture.param[ENCODE_PARAM_PICTURE] = exact(&pic, sizeof(pic));
    picture.slice_count = 1 + fuzz_byte(input) % MAX_SLICES;
    for (uint32_t i = 0; i < picture.slice_count; i++) {
        VAEncSliceParameterBufferH264 slice;

        take_slice(input, &slice);
        slices[i] = exact(&slice, sizeof(slice));
    }
    picture.slices = slices;
    picture.header_count = fuzz_byte(input) % (MAX_HEADERS + 1);
    for (uint32_t i = 0; i < picture.header_count; i++)
        take_header(input, &headers[i]);
    picture.headers = headers;
    if (flags & WITH_MISC) {
        misc.type = fuzz_byte(input) % 20;
        misc.size = fuzz_byte(input) % (MISC_BYTES + 1);
        fuzz_take(input, misc_bytes, misc.size);
        misc.data = exact(misc_bytes, misc.size);
        picture.misc = &misc;
        picture.misc_count = 1;
    }
    if (encode_h264.read(run->read_state, &picture, request) == 0) {
        check_request(request);
        write_packet(run, input, flags, request);
    } else {
        run->lost = true;
    }
    for (uint32_t i = 0; i < picture.slice_count; i++)
        free((void *)(uintptr_t)slices[i]);
    for (uint32_t i = 0; i < picture.header_count; i++)
        free((void *)(uintptr_t)headers[i].bytes);
    for (unsigned i = 0; i < ENCODE_PARAM_COUNT; i++)
        free((void *)(uintptr_t)picture.param[i]);
    free((void *)(uintptr_t)misc.data);
    free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run = calloc(1, sizeof(*run));
    struct fuzz_input input = {.data = data, .size = size};

    if (!run)
        abort();
    run->read_state = calloc(1, encode_h264.read_state_size);
    run->write_state = calloc(1, encode_h264.write_state_size);
    if (!run->read_state || !run->write_state)
        abort();
    for (unsigned i = 0; i < MAX_PICTURES && input.size; i++)
        run_picture(run, &input);
    free(run->read_state);
    free(run->write_state);
    free(run);
    return 0;
}

/* --- seeds: runs that go well */

struct seed {
    VAEncSequenceParameterBufferH264 seq;
    VAEncPictureParameterBufferH264 pic;
    VAEncSliceParameterBufferH264 slice;
    struct h264_sps sps;
    struct h264_pps pps, encoder;
    bool packed, raw, busy; /* busy: lists are reordered, pictures are marked */
};

static void put_bytes(struct fuzz_writer *w, const uint8_t *bytes, size_t size)
{
    fuzz_put_word(w, (uint16_t)size);
    fuzz_put(w, bytes, size);
}

/* A slice with some payload behind its header, or only the header. */
static size_t make_slice(const struct seed *seed, const struct h264_pps *pps, unsigned n,
                         bool payload, uint8_t *bytes)
{
    struct encode_output output = {.bytes = bytes, .room = 1024};
    struct h264_slice slice = {
        .picture = {.idr = !n, .ref_idc = 1, .frame_num = (uint16_t)(n & 15)},
        .type = n ? 5 : 7,
        .ref_count = 1,
        .qp = 30,
    };
    static const struct h264_mmco mmcos[][2] = {
        {{.op = 6}, {.op = 4, .index = 1}},
        {{.op = 3, .index = 1}, {.op = 1, .difference = 1}},
        {{.op = 2, .index = 1}, {.op = 6, .index = 2}},
        {{.op = 3, .difference = 2}, {.op = 4, .index = 2}},
    };
    uint8_t rbsp[256];
    struct bits_writer w;
    struct h264_nal nal = {.data = rbsp};

    if (seed->busy && n && payload) {
        slice.ref_count = 3;
        slice.mod_count = 2;
        slice.mod[0] = (struct h264_mod){.op = 0, .value = n > 1};
        slice.mod[1] = (struct h264_mod){.op = n > 1, .value = 0};
    } else if (seed->busy && n) {
        slice.picture.mmco_count = 2;
        memcpy(slice.picture.mmco, mmcos[n % 4], sizeof(mmcos[0]));
    }

    bits_write_init(&w, rbsp, sizeof(rbsp));
    h264_slice_write(&w, &seed->sps, pps, &slice);
    if (payload && pps->cabac)
        bits_write(&w, (8 - w.count) & 7, 0xff);
    for (unsigned i = 0; payload && i < 40; i++)
        bits_write(&w, 8, i % 8 ? i % 3 : 0);
    bits_write_trailing(&w);
    nal.size = w.used;
    h264_nal_put(&output, &nal);
    return output.size;
}

static size_t make_sets(const struct seed *seed, const struct h264_pps *pps, int profile,
                        uint8_t *bytes)
{
    size_t sps = 0, size = 0;

    h264_make_sps(&seed->seq, profile, bytes, 512, &sps);
    h264_make_pps(pps, 0, &seed->sps, bytes + sps, 512 - sps, &size);
    return sps + size;
}

static void put_picture(struct fuzz_writer *w, const struct seed *seed, unsigned n, int profile)
{
    VAEncPictureParameterBufferH264 pic = seed->pic;
    VAEncSliceParameterBufferH264 slice = seed->slice;
    size_t seq_tail = offsetof(VAEncSequenceParameterBufferH264, frame_cropping_flag);
    size_t pic_tail = offsetof(VAEncPictureParameterBufferH264, pic_parameter_set_id);
    size_t slice_tail = offsetof(VAEncSliceParameterBufferH264, cabac_init_idc);
    uint8_t bytes[2048];
    size_t size;

    pic.frame_num = (uint16_t)(n & 15);
    pic.pic_fields.bits.idr_pic_flag = !n;
    pic.pic_fields.bits.reference_pic_flag = 1;
    slice.slice_type = n ? 5 : 7;
    fuzz_put_byte(w, (uint8_t)((n ? 0 : WITH_SEQUENCE) | (profile == VAProfileH264High ? 0x40 : 0) |
                               0x20 | (seed->packed ? 0x10 : 0)));
    if (!n) {
        fuzz_put(w, &seed->seq, offsetof(VAEncSequenceParameterBufferH264, offset_for_ref_frame));
        fuzz_put(w, (const uint8_t *)&seed->seq + seq_tail,
                 offsetof(VAEncSequenceParameterBufferH264, va_reserved) - seq_tail);
    }
    fuzz_put_byte(w, n & 3);
    fuzz_put_byte(w, (n + 3) & 3);
    fuzz_put(w, (const uint8_t *)&pic + pic_tail,
             offsetof(VAEncPictureParameterBufferH264, va_reserved) - pic_tail);
    fuzz_put_byte(w, 0);
    fuzz_put(w, &slice, offsetof(VAEncSliceParameterBufferH264, RefPicList0));
    fuzz_put_byte(w, (n + 3) & 3);
    fuzz_put_byte(w, 0);
    fuzz_put(w, (const uint8_t *)&slice + slice_tail,
             offsetof(VAEncSliceParameterBufferH264, va_reserved) - slice_tail);
    fuzz_put_byte(w, (uint8_t)(seed->packed ? (n ? 1 : 2) : 0));
    if (seed->packed && !n) {
        fuzz_put_byte(w, (uint8_t)(0x80 | (unsigned)VAEncPackedHeaderSequence));
        put_bytes(w, bytes, make_sets(seed, &seed->pps, profile, bytes));
    }
    if (seed->packed) {
        fuzz_put_byte(w, (uint8_t)((seed->raw ? 0u : 0x80u) | (unsigned)VAEncPackedHeaderSlice));
        put_bytes(w, bytes, make_slice(seed, &seed->pps, n, false, bytes));
    }
    size = n ? 0 : make_sets(seed, &seed->encoder, VAProfileH264High, bytes);
    size += make_slice(seed, &seed->encoder, n, true, bytes + size);
    put_bytes(w, bytes, size);
}

size_t fuzz_seed(int index, uint8_t *buffer, size_t room)
{
    struct fuzz_writer w = {.at = buffer, .room = room};
    bool cabac = index & 1, spare = index & 4;
    struct seed seed = {.packed = index & 2, .raw = index == 3, .busy = index >= 8};
    struct h264_pps pps = {.valid = true,
                           .flat = true,
                           .cabac = cabac,
                           .ref_count = 1,
                           .ref_count_l1 = 1,
                           .init_qp = 26};

    if (index >= 12)
        return 0;
    seed.seq.picture_width_in_mbs = 4;
    seed.seq.picture_height_in_mbs = 4;
    seed.seq.max_num_ref_frames = seed.busy ? 4 : 1;
    seed.seq.level_idc = 40;
    seed.seq.seq_fields.bits.frame_mbs_only_flag = 1;
    seed.seq.seq_fields.bits.chroma_format_idc = 1;
    seed.pic.pic_init_qp = 26;
    seed.pic.pic_fields.bits.entropy_coding_mode_flag = cabac;
    seed.sps = (struct h264_sps){.valid = true,
                                 .flat = true,
                                 .frame_mbs_only = true,
                                 .profile_idc = 100,
                                 .chroma_format = 1,
                                 .depth_luma = 8,
                                 .depth_chroma = 8,
                                 .log2_frame_num = 4,
                                 .log2_poc_lsb = 4,
                                 .ref_frames = 4,
                                 .width = 4,
                                 .height = 4};
    seed.pps = seed.encoder = pps;
    seed.encoder.weighted = spare;
    seed.encoder.deblocking_control = true;
    for (unsigned n = 0; n < 5; n++)
        put_picture(&w, &seed, n, VAProfileH264High);
    return w.used;
}
