/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_NPU_H
#define VIADUCT_NPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Inference on the host: ONNX models, run by what the host has (ONNX Runtime, or Viaduct's
 * interpreter). This is libviaduct-npu.so; what other interfaces of Viaduct's are made of.
 *
 * Functions return 0 or a negative error; npu_error_text says in a word what it means, and
 * npu_message what happened to what. Once -NPU_GONE comes without a cancel, the host or the way to
 * it is gone: close and open again.
 *
 * Any thread may call any function; a run belongs to one thread at a time, but npu_run_cancel is
 * for any. A process that forked must not use in the child what it opened before.
 *
 * Tensors are dense, row by row, the last dimension fastest. Their memory is shared with the host,
 * so nothing is copied on the way; all of a connection's take 512 MiB at most.
 *
 * Pictures that VA-API decoded on the host can be inputs where they lie (npu_open_display,
 * npu_tensor_create_picture), and small results be made of outputs there (npu_post).
 */

#define NPU_EXPORT __attribute__((visibility("default")))

#define NPU_MAX_RANK 8

struct npu;
struct npu_model;
struct npu_tensor;
struct npu_run;

/* Errors, negative. The numbers are those of the protocol (docs/PROTOCOL.md). */
enum npu_error {
    NPU_MEMORY = 3,      /* out of memory, here or there */
    NPU_LIMIT = 4,       /* a limit of the host */
    NPU_UNSUPPORTED = 6, /* no device here can do that */
    NPU_PARAMETER = 7,   /* a broken model, an input that it does not take */
    NPU_GONE = 10,       /* no host, or the run was cancelled */
    NPU_TIMEOUT = 11,
    NPU_INTERNAL = 15,
};

/* Numbers of TensorProto.DataType, as in OrtApi. Elements are little-endian. */
enum npu_dtype {
    NPU_FLOAT32 = 1,
    NPU_UINT8 = 2,
    NPU_INT8 = 3,
    NPU_UINT16 = 4,
    NPU_INT16 = 5,
    NPU_INT32 = 6,
    NPU_INT64 = 7,
    NPU_TEXT = 8, /* strings of any bytes, see npu_tensor_create_texts */
    NPU_BOOL = 9, /* a byte, 0 or 1 */
    NPU_FLOAT16 = 10,
    NPU_FLOAT64 = 11,
    NPU_UINT32 = 12,
    NPU_UINT64 = 13,
    NPU_BFLOAT16 = 16,
};

enum npu_kind {
    NPU_KIND_TENSOR,
    NPU_KIND_SEQUENCE, /* of tensors */
    NPU_KIND_NONE,     /* an optional value that is not there */
    NPU_KIND_OTHER,    /* of an input or output: what cannot be carried */
    NPU_KIND_PICTURE, /* a surface and what is made of it: an input of runs, without numbers here */
    /* Items are rows: keys (int64 or strings), values; of MAPS, a sequence, for each map. */
    NPU_KIND_MAP = 6,
    NPU_KIND_MAPS = 7,
};

enum npu_device_kind { NPU_DEVICE_CPU = 1, NPU_DEVICE_GPU, NPU_DEVICE_NPU };

struct npu_device {
    char name[32];    /* for npu_options.devices */
    char runtime[64]; /* library and version */
    enum npu_device_kind kind;
};

/* A file with weights that is in memory. */
struct npu_file {
    const char *name; /* as the model has it */
    const void *bytes;
    size_t size;
};

/* The value of one of the model's initialisers, by name; numbers, little-endian, row by row. */
struct npu_weight {
    const char *name;
    int dtype, rank;
    const int64_t *dims;
    const void *bytes;
    size_t size;
};

/*
 * How a model is loaded. Models whose weights are in other files go to the host with them, as one
 * of 2 GiB at most: the files are those in memory, else those of the folder, within it.
 */
struct npu_options {
    const char *devices; /* names, best first, commas between; NULL: as the host prefers */
    bool require;        /* one of those, or no model */
    unsigned threads;    /* of a run; 0: the host decides */
    const char *folder;  /* where the model's other files are; NULL: nowhere */
    const struct npu_file *files;
    size_t file_count;
    const struct npu_weight *weights; /* instead of the model's */
    size_t weight_count;
};

struct npu_io {
    const char *name;
    enum npu_kind kind;
    bool optional;
    int dtype;                         /* of a map's values; 0: the model does not say */
    int key;                           /* of a map: the type of its keys */
    int rank;                          /* -1: the model does not say */
    int64_t dims[NPU_MAX_RANK];        /* -1: any */
    const char *symbols[NPU_MAX_RANK]; /* the name of such a dimension, or NULL */
};

/* All of it lives as long as the model. Texts are never NULL. */
struct npu_info {
    const struct npu_io *inputs, *outputs;
    size_t input_count, output_count;
    const char *device;    /* where it runs */
    const char *reason;    /* why not where it was asked to; "" if there is nothing to say */
    const char *placement; /* "cuda 120 nodes, ort 3 nodes"; "": the runtime does not tell */
    const char *producer, *domain, *description, *graph;
    int64_t version;
    size_t node_count; /* 0: the runtime does not tell */
    size_t pair_count; /* the model's own properties */
    const char *const *keys, *const *values;
};

/* The word for an error, negative or positive. */
NPU_EXPORT const char *npu_error_text(int error);
/* The sentence about this thread's last failure; valid until its next call. */
NPU_EXPORT const char *npu_message(void);

/*
 * Connects to a host: "unix:/path", "tls:host:port", ... NULL: as the environment and
 * /etc/viaduct.conf say (viaduct_drv_video(7)).
 */
NPU_EXPORT int npu_open(const char *uri, struct npu **ret_npu);
/*
 * The session of a VADisplay whose driver is Viaduct's: models can then look at its surfaces.
 * -NPU_UNSUPPORTED if it is another driver, or one of another release than this library. Models
 * count as contexts of the display. They live on when the display is closed; its surfaces do not.
 */
NPU_EXPORT int npu_open_display(void *va_display, struct npu **ret_npu);
/* Another owner, who closes it, too. Returns `npu`. */
NPU_EXPORT struct npu *npu_ref(struct npu *npu);
/* Models, tensors and runs keep it alive. NULL is fine. */
NPU_EXPORT void npu_close(struct npu *npu);
/* What the host runs models on, its preference first; at most `room`. */
NPU_EXPORT int npu_devices(struct npu *npu, struct npu_device *ret_devices, size_t room,
                           size_t *ret_count);

/* Loads a model. `bytes` are not needed afterwards. `options` may be NULL. */
NPU_EXPORT int npu_load(struct npu *npu, const void *bytes, size_t size,
                        const struct npu_options *options, struct npu_model **ret_model);
/* Its runs are finished before. NULL is fine. */
NPU_EXPORT void npu_unload(struct npu_model *model);
NPU_EXPORT const struct npu_info *npu_model_info(const struct npu_model *model);

/* A tensor of numbers, in shared memory, not initialised. */
NPU_EXPORT int npu_tensor_create(struct npu *npu, int dtype, const int64_t *dims, int rank,
                                 struct npu_tensor **ret_tensor);
/* One of strings: `lengths[i]` bytes at `texts[i]` each. They are copied. */
NPU_EXPORT int npu_tensor_create_texts(struct npu *npu, const char *const *texts,
                                       const size_t *lengths, const int64_t *dims, int rank,
                                       struct npu_tensor **ret_tensor);
/*
 * Numbers in memory of the caller's, `bytes` of them, which must stay as long as the tensor: copied
 * to and from the host by each run. For memory that is given; what npu_tensor_create makes is not
 * copied.
 */
NPU_EXPORT int npu_tensor_wrap(struct npu *npu, int dtype, const int64_t *dims, int rank,
                               void *data, size_t bytes, struct npu_tensor **ret_tensor);
/* A sequence of `count` tensors of one type, which are copied. `dtype`: theirs. */
NPU_EXPORT int npu_tensor_create_sequence(struct npu *npu, int dtype,
                                          struct npu_tensor *const *items, size_t count,
                                          struct npu_tensor **ret_tensor);
/*
 * A map, or a sequence of them: `count` tensors, which are copied: keys, values, keys, values.
 * `dtype`: of values.
 */
NPU_EXPORT int npu_tensor_create_maps(struct npu *npu, enum npu_kind kind, int dtype,
                                      struct npu_tensor *const *items, size_t count,
                                      struct npu_tensor **ret_tensor);
/* An optional value that is not there. */
NPU_EXPORT int npu_tensor_create_none(struct npu *npu, struct npu_tensor **ret_tensor);
/* How a part of a picture fills the input. */
enum npu_fit {
    NPU_FIT_STRETCH,   /* its shape is lost */
    NPU_FIT_LETTERBOX, /* all of it, in the middle, `pad` around */
    NPU_FIT_CORNER,    /* all of it, in the left upper corner, `pad` beside */
    NPU_FIT_CROP,      /* what fills the input, from the middle */
};

enum npu_filter { NPU_FILTER_LINEAR, NPU_FILTER_NEAREST, NPU_FILTER_AREA, NPU_FILTER_CUBIC };
enum npu_order { NPU_ORDER_RGB, NPU_ORDER_BGR, NPU_ORDER_GRAY };
enum npu_layout { NPU_LAYOUT_NCHW, NPU_LAYOUT_NHWC };

struct npu_roi {
    uint32_t x, y, width, height;
};

/*
 * What is made of a picture, on the host. A sample s from 0 to 255 becomes (s - mean) * scale, by
 * channel in the input's order. All scales 0: 1/255 for floats, 1 for integers.
 */
struct npu_picture {
    uint32_t surface; /* VASurfaceID of the display */
    enum npu_fit fit;
    enum npu_filter filter;
    enum npu_order order;
    enum npu_layout layout;
    int matrix; /* of YUV, as in ISO/IEC 23001-8 (1: BT.709, 6: BT.601, 9: BT.2020); 0: by size */
    bool full_range; /* of YUV */
    int pad;         /* sample around the picture, 0 to 255 */
    float mean[3], scale[3];
    const struct npu_roi *rois; /* parts, each an item of the batch; chroma samples are not cut */
    size_t roi_count;           /* 0: the whole picture */
    uint32_t width, height;     /* of the input, where the model leaves them open */
};

/*
 * What the shape of a model's input tells: layout and order (RGB or grey); all else is as in a
 * zeroed struct. -NPU_PARAMETER: it takes no pictures.
 */
NPU_EXPORT int npu_picture_guess(const struct npu_io *input, struct npu_picture *ret_picture);
/*
 * Means and scales from a description of the model as GStreamer's onnxinference reads it
 * (MODEL.onnx.modelinfo): the ranges of the group named like the input. Without ranges they stay.
 * -NPU_PARAMETER: it is none, or does not know the input.
 */
NPU_EXPORT int npu_picture_modelinfo(const char *text, size_t size, const struct npu_io *input,
                                     struct npu_picture *picture);
/*
 * An input made of a surface, of the picture that was submitted to it last when the run is
 * submitted. The host waits for that picture. Until the run is done the program must not write to
 * the surface itself (vaPutImage, a derived image); decoding the next picture into it is fine.
 * What `picture` points to is copied.
 */
NPU_EXPORT int npu_tensor_create_picture(struct npu *npu, const struct npu_io *input,
                                         const struct npu_picture *picture,
                                         struct npu_tensor **ret_tensor);
/* Another owner, who destroys it, too. Returns `tensor`. */
NPU_EXPORT struct npu_tensor *npu_tensor_ref(struct npu_tensor *tensor);
/* NULL is fine. Runs that use it keep it. */
NPU_EXPORT void npu_tensor_destroy(struct npu_tensor *tensor);
NPU_EXPORT enum npu_kind npu_tensor_kind(const struct npu_tensor *tensor);
NPU_EXPORT int npu_tensor_dtype(const struct npu_tensor *tensor);
NPU_EXPORT int npu_tensor_rank(const struct npu_tensor *tensor);
NPU_EXPORT const int64_t *npu_tensor_dims(const struct npu_tensor *tensor);
/* Elements of a tensor, tensors of a sequence. */
NPU_EXPORT size_t npu_tensor_count(const struct npu_tensor *tensor);
/* Its numbers and their bytes. In an output of a run the bytes may be fewer than were. A tensor of
 * strings or a sequence has none to look at. */
NPU_EXPORT void *npu_tensor_data(const struct npu_tensor *tensor);
NPU_EXPORT size_t npu_tensor_bytes(const struct npu_tensor *tensor);
/* A string of a tensor of strings, not terminated; it lives as long as the tensor. NULL if none. */
NPU_EXPORT const char *npu_tensor_text(const struct npu_tensor *tensor, size_t index,
                                       size_t *ret_length);
/* A copy of a tensor of a sequence. */
NPU_EXPORT int npu_tensor_item(const struct npu_tensor *tensor, size_t index,
                               struct npu_tensor **ret_tensor);

/* What the host makes of an output. Rows are float32 [rows, columns]. */
enum npu_post_kind {
    NPU_POST_CLASSES = 1, /* item, class, score: of the last dimension */
    NPU_POST_BOXES,       /* item, class, score, left, top, right, bottom */
    NPU_POST_TEXT,        /* item, class, score: CTC, the best path */
    NPU_POST_MAP,     /* uint8, without dimension `axis`: its best index, or of one: is it there */
    NPU_POST_REGIONS, /* as BOXES, class 0: what is connected in a map [N, 1, H, W] */
};

enum npu_score { NPU_SCORE_AS_IS, NPU_SCORE_SIGMOID, NPU_SCORE_SOFTMAX };
/* The four numbers of a box. */
enum npu_box { NPU_BOX_CENTRE, NPU_BOX_XYXY, NPU_BOX_YXYX, NPU_BOX_XYWH };

#define NPU_NOWHERE (-1)

/* Begin with npu_post_preset, which fills all of it. */
struct npu_post {
    enum npu_post_kind kind;
    size_t
        input; /* of the call: if that is a picture, boxes are in its pixels; else in the model's */
    enum npu_score activation;
    float threshold; /* the least score that counts */
    float
        overlap; /* boxes that share more (intersection over union) with a better one go; 1: none */
    uint32_t most; /* of an item; the best ones; 0: all */
    enum npu_box form;
    bool normal;       /* boxes are from 0 to 1, not in pixels of the input */
    bool turned;       /* [N, features, boxes]; of TEXT [steps, N, classes] */
    bool across;       /* boxes of different classes suppress each other, too */
    bool background;   /* class 0 is none, the next one becomes 0 */
    int scores_output; /* output with the scores [N, boxes, classes]; NPU_NOWHERE: the same as boxes
                        */
    int boxes_at, scores_at, classes; /* features; classes 0: all behind scores_at */
    int objectness_at;                /* feature that scores are multiplied by, or NPU_NOWHERE */
    int class_at;   /* feature that is the class (with scores_output: an output), or NPU_NOWHERE */
    int axis;       /* of MAP */
    uint32_t blank; /* of TEXT: the class that is nothing */
};

/*
 * By name: "classes", "softmax", "yolov5" (7 is the same), "yolov8" (9, 11 are the same),
 * "yolov10", "ssd", "detr", "text", "map", "regions". -NPU_PARAMETER: there is no such.
 * npu_post_preset_name lists them: NULL behind the last.
 */
NPU_EXPORT int npu_post_preset(const char *name, struct npu_post *ret_post);
NPU_EXPORT const char *npu_post_preset_name(size_t index);

/*
 * One inference. Inputs and outputs are named by their index in the model's info; `input_index`
 * NULL: inputs are the first ones in order; the same for outputs.
 *
 * An output may be a tensor of the caller's (of the right type and at least the bytes: it gets the
 * shape that comes out) or NULL: then a new one is put there, the caller's.
 */
struct npu_call {
    struct npu_tensor *const *inputs;
    const uint32_t *input_index;
    size_t input_count;
    struct npu_tensor **outputs;
    const uint32_t *output_index;
    size_t output_count;
    uint32_t milliseconds; /* most time, 0: no limit */
    /* By output: what to give in its place; NULL, and each that is NULL: the output itself. */
    const struct npu_post *const *posts;
};

NPU_EXPORT int npu_run(struct npu_model *model, const struct npu_call *call);

/*
 * The same in two steps. Between submit and wait inputs must not change, outputs not be looked at.
 * What `call` points to is not needed after submit, but for the places of `outputs`.
 */
NPU_EXPORT int npu_submit(struct npu_model *model, const struct npu_call *call,
                          struct npu_run **ret_run);
/* Whether npu_wait would return at once. Costs a look at memory. */
NPU_EXPORT bool npu_run_done(struct npu_run *run);
/* Waits; -NPU_TIMEOUT: not done within that time, and it goes on. UINT64_MAX: no limit. */
NPU_EXPORT int npu_wait(struct npu_run *run, uint64_t nanoseconds);
/* Any thread: ends the run soon. npu_wait then says -NPU_GONE, or 0 if it was done before. */
NPU_EXPORT void npu_run_cancel(struct npu_run *run);
/* Nanoseconds that the device worked, after npu_wait. */
NPU_EXPORT uint64_t npu_run_nanoseconds(const struct npu_run *run);
/* Cancels and waits, if it is not done. NULL is fine. */
NPU_EXPORT void npu_run_destroy(struct npu_run *run);

#ifdef __cplusplus
}
#endif

#endif
