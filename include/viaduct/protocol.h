/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_PROTOCOL_H
#define VIADUCT_PROTOCOL_H

/*
 * The protocol: this header and the tables it expands. Nothing else defines a byte on the wire.
 *
 * Changes by minor version:
 *   1.0  first version
 */

#include <assert.h>
#include <stdint.h>
#include <viaduct/limits.h>

#define VD_MAGIC 0x54434456u /* "VDCT" */
#define VD_MAJOR 1u
#define VD_MINOR 0u

#if !defined(__LP64__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "both ends are 64-bit little endian: libva's structs travel as they lie in memory"
#endif

/* Feature bits of HELLO. */
#define VD_FEATURE_SHARED_ARENA (1ull << 0) /* both sides see one arena and its status page */
/* Each side has an arena of its own, with the same layout; what changes in it is sent. */
#define VD_FEATURE_IN_BAND (1ull << 1)
/*
 * One arena, in memory that a virtual machine has in common with its host (docs/GUEST-QEMU.md): the
 * guest gets it by REGION, and events wake it, since futexes do not reach other kernels. No
 * descriptors pass.
 */
#define VD_FEATURE_REGION (1ull << 2)
/* A session for CUDA: it has CUDA's messages and no others but HELLO, and in band
 * arena_write. */
#define VD_FEATURE_CUDA (1ull << 8)
#define VD_FEATURES     (VD_FEATURE_SHARED_ARENA | VD_FEATURE_IN_BAND | VD_FEATURE_REGION)

/* header.op of a reply, of an event. */
#define VD_REPLY 0x80000000u
#define VD_EVENT 0x40000000u

/*
 * Session states. NEW: connected, nothing but HELLO is legal. READY: after a successful HELLO,
 * everything but HELLO and CUDA's messages; CUDA: the same for sessions with VD_FEATURE_CUDA, which
 * have only those. CLOSED: a violation was seen or the peer is gone, nothing is legal.
 */
#define VD_STATE_NEW    (1u << 0)
#define VD_STATE_READY  (1u << 1)
#define VD_STATE_CLOSED (1u << 2)
#define VD_STATE_CUDA   (1u << 3)

/* context_create_rep.flags */
#define VD_CONTEXT_KICK  (1u << 0) /* a waiting guest must send KICK: pictures may be held back */
#define VD_CONTEXT_FLAGS VD_CONTEXT_KICK

/* submit_req.flags */
#define VD_SUBMIT_FIXED         (1u << 0) /* the surface's memory is mapped or exported: keep it */
#define VD_SUBMIT_DISPLAY_FIXED (1u << 1) /* the same for the display surface */
#define VD_SUBMIT_FLAGS         (VD_SUBMIT_FIXED | VD_SUBMIT_DISPLAY_FIXED)

/* proc_pipeline.flags: optional fields that are there. */
#define VD_PROC_SOURCE     (1u << 0) /* source; else the whole surface */
#define VD_PROC_DEST       (1u << 1) /* dest; else the whole target */
#define VD_PROC_BLEND      (1u << 2) /* blend_flags, global_alpha, min_luma, max_luma */
#define VD_PROC_OUTPUT_HDR (1u << 3)
#define VD_PROC_FLAGS      0xfu

/*
 * Whether what no picture covers shows what the target held before, of a proc_pipeline's background
 * (ARGB): it is transparent. Counts for the first of a picture.
 */
#define VD_PROC_KEEPS(background) (!((background) >> 24))

/*
 * cap.attributes that are not libva's: what the filters of VAEntrypointVideoProc can do. Masks of
 * 1 << VAProcFilterType, 1 << VAProcDeinterlacingType, ...
 */
#define VD_ATTRIBUTE_FILTERS       0x10000u
#define VD_ATTRIBUTE_DEINTERLACING 0x10001u
#define VD_ATTRIBUTE_COLOR_BALANCE 0x10002u
#define VD_ATTRIBUTE_TONE_MAPPING  0x10003u /* VA_TONE_MAPPING_* */
#define VD_ATTRIBUTE_ROTATION      0x10004u /* 1 << VA_ROTATION_* */
#define VD_ATTRIBUTE_MIRROR        0x10005u /* VA_MIRROR_* */
#define VD_ATTRIBUTE_BLEND         0x10006u /* VA_BLEND_* */
#define VD_ATTRIBUTE_STANDARDS_IN  0x10007u /* 1 << VAProcColorStandardType */
#define VD_ATTRIBUTE_STANDARDS_OUT 0x10008u
#define VD_ATTRIBUTE_REFS          0x10009u /* forward << 16 | backward references it uses */

/* Bytes in front of a coded buffer's own: vd_coded, and room. */
#define VD_CODED_HEAD 64u

/* surface_export_req.flags */
#define VD_EXPORT_READ     (1u << 0) /* who gets it reads */
#define VD_EXPORT_WRITE    (1u << 1) /* and writes */
#define VD_EXPORT_SEPARATE (1u << 2) /* a layer for each plane; else one for all */
#define VD_EXPORT_FLAGS    (VD_EXPORT_READ | VD_EXPORT_WRITE | VD_EXPORT_SEPARATE)

/* surface_event.flags */
#define VD_SURFACE_FRESH       (1u << 0) /* there is another picture; the guest's pixels are old */
#define VD_SURFACE_PIXELS      (1u << 1) /* but its pixels came right before */
#define VD_SURFACE_EVENT_FLAGS (VD_SURFACE_FRESH | VD_SURFACE_PIXELS)

/* npu_create_req.flags: none of `devices`: no model, rather than another device. */
#define VD_NPU_REQUIRE (1u << 0)
#define VD_NPU_FLAGS   VD_NPU_REQUIRE

/* npu_device.kind */
#define VD_NPU_KIND_CPU 1u
#define VD_NPU_KIND_GPU 2u
#define VD_NPU_KIND_NPU 3u

/* npu_value.kind, npu_io.kind */
#define VD_NPU_TENSOR   0u
#define VD_NPU_SEQUENCE 1u
#define VD_NPU_NONE     2u
#define VD_NPU_OTHER    3u
/* npu_value.kind of an input: what npu_picture makes of a surface. */
#define VD_NPU_PICTURE 4u
/* npu_value.kind of an output in a request: what npu_post makes of it. */
#define VD_NPU_POST 5u
/* npu_value.kind, npu_io.kind: a map, a sequence of maps; as a sequence of keys, values, keys... */
#define VD_NPU_MAP  6u
#define VD_NPU_MAPS 7u

/* npu_picture.fit: how a part of a picture fills the tensor. */
#define VD_NPU_FIT_STRETCH   0u
#define VD_NPU_FIT_LETTERBOX 1u /* all of it, its shape kept, in the middle */
#define VD_NPU_FIT_CORNER    2u /* the same in the left upper corner */
#define VD_NPU_FIT_CROP      3u /* the middle, as much as has the tensor's shape */
#define VD_NPU_FITS          4u

/* npu_picture.filter */
#define VD_NPU_FILTER_LINEAR  0u /* bilinear; over all pixels that fall on one when it shrinks */
#define VD_NPU_FILTER_NEAREST 1u
#define VD_NPU_FILTER_AREA    2u
#define VD_NPU_FILTER_CUBIC   3u
#define VD_NPU_FILTERS        4u

/* npu_picture.order */
#define VD_NPU_ORDER_RGB  0u
#define VD_NPU_ORDER_BGR  1u
#define VD_NPU_ORDER_GRAY 2u
#define VD_NPU_ORDERS     3u

/* npu_picture.layout */
#define VD_NPU_LAYOUT_NCHW 0u
#define VD_NPU_LAYOUT_NHWC 1u
#define VD_NPU_LAYOUTS     2u

/* npu_post.kind: what becomes of an output. Rows are of float32, their columns named here. */
#define VD_NPU_POST_CLASSES 1u /* item, class, score: the best of the last dimension */
#define VD_NPU_POST_BOXES   2u /* item, class, score, left, top, right, bottom */
#define VD_NPU_POST_TEXT    3u /* item, class, score: CTC, greedily */
#define VD_NPU_POST_MAP     4u /* no rows: a uint8 for each place, the best of dimension `axis` */
#define VD_NPU_POST_REGIONS 5u /* as BOXES: connected places above the threshold, class 0 */
#define VD_NPU_POSTS        6u

/* npu_post.activation, of scores */
#define VD_NPU_SCORE_AS_IS   0u
#define VD_NPU_SCORE_SIGMOID 1u
#define VD_NPU_SCORE_SOFTMAX 2u
#define VD_NPU_SCORES        3u

/* npu_post.form: what the four numbers of a box are. */
#define VD_NPU_BOX_CENTRE 0u /* x, y of the middle, width, height */
#define VD_NPU_BOX_XYXY   1u /* left, top, right, bottom */
#define VD_NPU_BOX_YXYX   2u /* top, left, bottom, right */
#define VD_NPU_BOX_XYWH   3u /* left, top, width, height */
#define VD_NPU_BOXES      4u

/* npu_post.flags */
#define VD_NPU_POST_TURNED \
    (1u << 0) /* boxes are the last dimension, what they have the one before */
#define VD_NPU_POST_NORMAL \
    (1u << 1) /* 0 to 1 is the tensor's width and height; else pixels of it */
#define VD_NPU_POST_ACROSS     (1u << 2) /* boxes of different classes suppress each other, too */
#define VD_NPU_POST_BACKGROUND (1u << 3) /* class 0 is none and not counted */
#define VD_NPU_POST_FLAGS \
    (VD_NPU_POST_TURNED | VD_NPU_POST_NORMAL | VD_NPU_POST_ACROSS | VD_NPU_POST_BACKGROUND)
#define VD_NPU_NOWHERE 0xffffffffu

/* npu_io.flags: may be VD_NPU_NONE. */
#define VD_NPU_IO_OPTIONAL (1u << 0)
#define VD_NPU_IO_FLAGS    VD_NPU_IO_OPTIONAL
#define VD_NPU_ANY_RANK    0xffffffffu

/* cuda_device.flags */
#define VD_CUDA_DEVICE_LOCAL (1u << 0) /* its memory is the host processor's */
#define VD_CUDA_DEVICE_TEXTURELESS \
    (1u << 1)                            /* arrays, textures, surfaces are objects of the host's */
#define VD_CUDA_DEVICE_APART   (1u << 2) /* its kernels do not reach the guest's memory */
#define VD_CUDA_DEVICE_VIRTUAL (1u << 3) /* addresses and memory apart: virtual_reserve, ... */
#define VD_CUDA_DEVICE_IMPORTS (1u << 4) /* such memory may come by a descriptor */
#define VD_CUDA_DEVICE_FLAGS                                                    \
    (VD_CUDA_DEVICE_LOCAL | VD_CUDA_DEVICE_TEXTURELESS | VD_CUDA_DEVICE_APART | \
     VD_CUDA_DEVICE_VIRTUAL | VD_CUDA_DEVICE_IMPORTS)

/* cuda_launch_req.flags */
#define VD_CUDA_LAUNCH_COOPERATIVE (1u << 0)
#define VD_CUDA_LAUNCH_FLAGS       VD_CUDA_LAUNCH_COOPERATIVE

/* cuda_copy_req.flags: which sides are in the arena. */
#define VD_CUDA_COPY_TO_HOST   (1u << 0)
#define VD_CUDA_COPY_FROM_HOST (1u << 1)
#define VD_CUDA_COPY_FLAGS     (VD_CUDA_COPY_TO_HOST | VD_CUDA_COPY_FROM_HOST)

/* cuda_value_req.flags */
#define VD_CUDA_VALUE_WAIT  (1u << 0) /* else it is written */
#define VD_CUDA_VALUE_FLAGS VD_CUDA_VALUE_WAIT

/* cuda_queue_event.flags */
#define VD_CUDA_QUEUE_PRINTED (1u << 0) /* there is text for cuda_print */
#define VD_CUDA_QUEUE_MORE    (1u << 1) /* belongs with the next one: both are over at once */
#define VD_CUDA_QUEUE_FLAGS   (VD_CUDA_QUEUE_PRINTED | VD_CUDA_QUEUE_MORE)

#define VD_SLOT(id) ((id)&0xfffffu)

/* Stands for "no tail" in calls.def. */
struct vd_none {
    uint32_t unused;
};

#define VD_STRUCT(n) struct vd_##n {
#define VD_END(n) \
    }             \
    ;
#define VD_U32(n, doc)         uint32_t n;
#define VD_U64(n, doc)         uint64_t n;
#define VD_U32N(n, count, doc) uint32_t n[count];
#define VD_TEXT(n, bytes, doc) char n[bytes];
#define VD_ZERO(n, doc)        uint32_t n;
#define VD_FLAGS(n, mask, doc) uint32_t n;
#include <viaduct/structs.def>

enum vd_op {
#define VD_CALL(number, name, since, kind, states, rt, rn, pt, pn) VD_OP_##name = (number),
#include <viaduct/calls.def>
};

enum vd_event {
#define VD_EVENT_ROW(number, name, since, rt, rn) VD_EVENT_##name = (number) | VD_EVENT,
#include <viaduct/events.def>
};

static_assert(sizeof(struct vd_header) == 16, "header");
static_assert(sizeof(struct vd_hello_req) == 64, "hello_req");
static_assert(sizeof(struct vd_hello_rep) == 112, "hello_rep");
static_assert(sizeof(struct vd_cap) == 456, "cap");
static_assert(sizeof(struct vd_proc_pipeline) % 8 == 0, "structs proc_filter follow it");
static_assert(sizeof(struct vd_coded) <= VD_CODED_HEAD, "coded");
static_assert(sizeof(struct vd_submit_req) == 24, "submit_req");
static_assert(sizeof(struct vd_buffer_ref) == 24, "buffer_ref");

/*
 * The status page at the start of the arena: completion and status without a message.
 *
 * Each field has one writer, named behind it; the other side copies, then checks. Nothing here is
 * trusted: the host keeps its own truth and never reads a field that it writes; the guest checks
 * backing indices and offsets against the frame zone before use. `done`, `consumed` are futex
 * words: the writer stores with release order and wakes when `waiters` is not zero.
 */
struct vd_surface_slot {
    uint32_t done;    /* host: sequence of the last complete picture of this surface */
    uint32_t status;  /* host: error code of that picture, positive */
    uint32_t backing; /* host: where its pixels are, index into backings */
    uint32_t errors;  /* host: macroblocks or slices concealed in that picture, if known */
    uint32_t waiters; /* guest: threads that sleep on `done` */
    uint32_t reserved[11];
};

struct vd_context_slot {
    uint32_t done;    /* host: pictures of this context that are complete; wraps */
    uint32_t waiters; /* guest: threads that sleep on `done` */
    uint32_t reserved[14];
};

struct vd_backing_slot {
    uint64_t offset; /* host: of the memory from the start of the arena */
    uint32_t pins;   /* guest: mappings, images; the host does not reuse the memory while not 0 */
    uint32_t reserved;
};

struct vd_status_page {
    uint32_t consumed;         /* host: submissions whose buffers have been copied */
    uint32_t consumed_waiters; /* guest: threads that sleep on `consumed` */
    uint32_t mapped;           /* guest: pictures it looked at, for statistics only */
    uint32_t reserved;
    uint64_t region[2]; /* VD_FEATURE_REGION: which memory this is: host, then guest, see REGION */
    uint32_t reserved2[8];
    struct vd_context_slot contexts[VD_MAX_CONTEXTS];
    struct vd_surface_slot surfaces[VD_MAX_SURFACES];
    struct vd_backing_slot backings[VD_MAX_BACKINGS];
};

static_assert(sizeof(struct vd_surface_slot) == 64, "one cache line a surface");
static_assert(sizeof(struct vd_context_slot) == 64, "one cache line a context");
static_assert(sizeof(struct vd_status_page) ==
                  64 + VD_MAX_CONTEXTS * 64 + VD_MAX_SURFACES * 64 + VD_MAX_BACKINGS * 16,
              "status page");

/*
 * CUDA's part of the status, at the start of the upload zone. Same rules. The ring carries one-way
 * messages as they are, each a multiple of 8 bytes: the guest writes behind `filled` and then moves
 * it, the host moves `taken` behind what it has copied. Both count bytes and wrap at 2^32.
 */
struct vd_cuda_queue_slot {
    uint32_t done;    /* host: number of the last command that is over; wraps */
    uint32_t waiters; /* guest: threads that sleep on `done` */
    uint32_t reserved[14];
};

struct vd_cuda_status {
    uint32_t taken;         /* host */
    uint32_t taken_waiters; /* guest: threads that sleep on `taken` */
    uint32_t reserved[14];
    uint32_t filled;   /* guest */
    uint32_t sleeping; /* host: 1, look for no more without a kick; who finds it sets 0 and kicks */
    uint32_t reserved2[14];
    uint32_t progress;         /* host: counts completions of all queues; wraps */
    uint32_t progress_waiters; /* guest: threads that sleep on `progress` */
    uint32_t printed;          /* host: not 0: there is text for cuda_print */
    uint32_t reserved3[13];
    uint32_t errors[VD_MAX_CUDA_CONTEXTS]; /* host: CUresult that a context is poisoned with */
    struct vd_cuda_queue_slot queues[VD_MAX_CUDA_QUEUES];
    uint64_t stamps[VD_MAX_CUDA_STAMPS]; /* host: ns of its clock, 0: not yet */
    uint8_t ring[VD_CUDA_RING_BYTES];
};

static_assert(sizeof(struct vd_cuda_queue_slot) == 64, "one cache line a queue");
static_assert(sizeof(struct vd_cuda_status) == 192 + VD_MAX_CUDA_CONTEXTS * 4 +
                                                   VD_MAX_CUDA_QUEUES * 64 +
                                                   VD_MAX_CUDA_STAMPS * 8 + VD_CUDA_RING_BYTES,
              "CUDA's status");

/* `backing` of a surface that has no memory yet. */
#define VD_NO_BACKING 0xffffffffu

#endif
