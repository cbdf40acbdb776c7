/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <viaduct/errors.h>

#include "internal.h"

/* What the host makes of outputs. */

_Static_assert((int)NPU_POST_REGIONS == VD_NPU_POST_REGIONS &&
                   (int)NPU_SCORE_SOFTMAX == VD_NPU_SCORE_SOFTMAX &&
                   (int)NPU_BOX_XYWH == VD_NPU_BOX_XYWH && NPU_NOWHERE == (int)VD_NPU_NOWHERE,
               "the wire's numbers");

#define PLAIN                                                                 \
    .overlap = 1, .scores_output = NPU_NOWHERE, .objectness_at = NPU_NOWHERE, \
    .class_at = NPU_NOWHERE

/* How exporters lay out what detectors and classifiers give. */
static const struct {
    const char *name;
    struct npu_post post;
} presets[] = {
    {"classes", {.kind = NPU_POST_CLASSES, .most = 5, .threshold = -3.4e38f, PLAIN}},
    {"softmax", {.kind = NPU_POST_CLASSES, .most = 5, .activation = NPU_SCORE_SOFTMAX, PLAIN}},
    /* [N, boxes, x y w h objectness classes...] */
    {"yolov5",
     {.kind = NPU_POST_BOXES,
      .threshold = 0.25f,
      .overlap = 0.45f,
      .most = 300,
      .scores_output = NPU_NOWHERE,
      .scores_at = 5,
      .objectness_at = 4,
      .class_at = NPU_NOWHERE}},
    /* [N, x y w h classes..., boxes] */
    {"yolov8",
     {.kind = NPU_POST_BOXES,
      .threshold = 0.25f,
      .overlap = 0.45f,
      .most = 300,
      .turned = true,
      .scores_output = NPU_NOWHERE,
      .scores_at = 4,
      .objectness_at = NPU_NOWHERE,
      .class_at = NPU_NOWHERE}},
    /* [N, boxes, left top right bottom score class] */
    {"yolov10",
     {.kind = NPU_POST_BOXES,
      .threshold = 0.25f,
      .overlap = 1,
      .most = 300,
      .form = NPU_BOX_XYXY,
      .scores_output = NPU_NOWHERE,
      .scores_at = 4,
      .classes = 1,
      .objectness_at = NPU_NOWHERE,
      .class_at = 5}},
    /* [N, boxes, left top right bottom], 0 to 1, and [N, boxes, classes] with a background */
    {"ssd",
     {.kind = NPU_POST_BOXES,
      .threshold = 0.4f,
      .overlap = 0.45f,
      .most = 200,
      .form = NPU_BOX_XYXY,
      .normal = true,
      .background = true,
      .scores_output = 1,
      .objectness_at = NPU_NOWHERE,
      .class_at = NPU_NOWHERE}},
    /* [N, boxes, x y w h], 0 to 1, and [N, boxes, logits] */
    {"detr",
     {.kind = NPU_POST_BOXES,
      .threshold = 0.5f,
      .overlap = 1,
      .most = 300,
      .activation = NPU_SCORE_SIGMOID,
      .normal = true,
      .scores_output = 1,
      .objectness_at = NPU_NOWHERE,
      .class_at = NPU_NOWHERE}},
    {"text", {.kind = NPU_POST_TEXT, PLAIN}},
    {"map", {.kind = NPU_POST_MAP, .threshold = 0.5f, .axis = 1, PLAIN}},
    {"regions", {.kind = NPU_POST_REGIONS, .threshold = 0.3f, PLAIN}},
};

#define PRESETS (sizeof(presets) / sizeof(presets[0]))

int npu_post_preset(const char *name, struct npu_post *ret_post)
{
    for (size_t i = 0; i < PRESETS; i++) {
        if (!strcmp(presets[i].name, name)) {
            *ret_post = presets[i].post;
            return 0;
        }
    }
    return client_fail(VD_ERR_PARAMETER, "nothing called \"%s\" can be made of an output", name);
}

const char *npu_post_preset_name(size_t index)
{
    return index < PRESETS ? presets[index].name : NULL;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

int client_post_pack(const struct npu_model *model, const struct npu_call *call,
                     const struct npu_post *post, struct vd_npu_post *ret)
{
    bool picture =
        post->input < call->input_count && call->inputs[post->input]->value.kind == VD_NPU_PICTURE;
    int last = (int)model->info.output_count;

    if (post->kind < NPU_POST_CLASSES || post->kind > NPU_POST_REGIONS || post->boxes_at < 0 ||
        post->scores_at < 0 || post->classes < 0 || post->axis < 0 ||
        post->scores_output < NPU_NOWHERE || post->objectness_at < NPU_NOWHERE ||
        post->class_at < NPU_NOWHERE)
        return client_fail(VD_ERR_PARAMETER,
                           "what is to be made of an output is not filled in (npu_post_preset)");
    if (post->kind == NPU_POST_BOXES && post->scores_output != NPU_NOWHERE &&
        (post->scores_output >= last || post->class_at >= last))
        return client_fail(VD_ERR_PARAMETER, "the model has %d outputs, and none with scores %d",
                           last, post->scores_output);
    *ret = (struct vd_npu_post){
        .kind = (uint32_t)post->kind,
        .flags = (post->turned ? VD_NPU_POST_TURNED : 0) | (post->normal ? VD_NPU_POST_NORMAL : 0) |
                 (post->across ? VD_NPU_POST_ACROSS : 0) |
                 (post->background ? VD_NPU_POST_BACKGROUND : 0),
        .input = picture ? (uint32_t)post->input : VD_NPU_NOWHERE,
        .activation = (uint32_t)post->activation,
        .form = (uint32_t)post->form,
        .scores_output = (uint32_t)post->scores_output,
        .boxes_at = (uint32_t)post->boxes_at,
        .scores_at = (uint32_t)post->scores_at,
        .classes = (uint32_t)post->classes,
        .objectness_at = (uint32_t)post->objectness_at,
        .class_at = (uint32_t)post->class_at,
        .threshold = bits_of(post->threshold),
        .overlap = bits_of(post->overlap),
        .most = post->most,
        .axis = (uint32_t)post->axis,
        .blank = post->blank,
    };
    return 0;
}
