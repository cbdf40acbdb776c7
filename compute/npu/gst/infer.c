/* SPDX-License-Identifier: MIT */
#include <gst/base/gstbasetransform.h>
#include <gst/gst.h>
#include <gst/va/gstva.h>
#include <gst/video/video.h>
#include <stdio.h>
#include <string.h>
#include <viaduct/npu.h>

/*
 * viaductinfer, an element of GStreamer: a model looks at each picture that VA-API decoded, where
 * it was decoded; pictures pass through as they are. What it says becomes a message on the bus
 *
 *     viaduct-infer, frame=(guint64)7, timestamp=(guint64)280000000,
 *     detections=(structure){ "detection, item=0, class=2, label=cup, score=0.81, x=, y=, w=, h=" }
 *
 * and, where it has a place in the picture, GstVideoRegionOfInterestMeta of the buffer, whose
 * roi_type is the label and whose parameter "detection" has class and score.
 *
 *     … ! vah264dec ! viaductinfer model=yolov8n.onnx post=yolov8 fit=letterbox ! …
 *
 * A picture waits for its result; queues before and behind let the others go on.
 */

#define INFER_LABELS 32768u

#define VIADUCT_TYPE_INFER (viaduct_infer_get_type())
G_DECLARE_FINAL_TYPE(ViaductInfer, viaduct_infer, VIADUCT, INFER, GstBaseTransform)

/* Texts are the properties'; the rest is the streaming thread's. */
struct _ViaductInfer {
    GstBaseTransform parent;
    gchar *model_path, *post_name, *labels_path, *device, *fit, *order;
    guint width, height, every;
    gfloat threshold;
    /* Since the first picture. */
    GstVaDisplay *display;
    struct npu *npu;
    struct npu_model *model;
    struct npu_picture picture;
    struct npu_post post;
    const struct npu_post **posts;
    struct npu_tensor **outputs;
    gchar **labels;
    guint64 frames;
    GstVideoInfo info;
};

G_DEFINE_TYPE(ViaductInfer, viaduct_infer, GST_TYPE_BASE_TRANSFORM)

enum {
    PROP_MODEL = 1,
    PROP_POST,
    PROP_LABELS,
    PROP_DEVICE,
    PROP_FIT,
    PROP_ORDER,
    PROP_WIDTH,
    PROP_HEIGHT,
    PROP_EVERY,
    PROP_THRESHOLD,
};

#define INFER_CAPS "video/x-raw(memory:VAMemory)"

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(INFER_CAPS));
static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(INFER_CAPS));

static gchar **text_of(ViaductInfer *self, guint id)
{
    gchar **texts[] = {
        [PROP_MODEL] = &self->model_path,
        [PROP_POST] = &self->post_name,
        [PROP_LABELS] = &self->labels_path,
        [PROP_DEVICE] = &self->device,
        [PROP_FIT] = &self->fit,
        [PROP_ORDER] = &self->order,
    };

    return id < G_N_ELEMENTS(texts) ? texts[id] : NULL;
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    ViaductInfer *self = VIADUCT_INFER(object);
    gchar **text = text_of(self, id);

    GST_OBJECT_LOCK(self);
    if (text) {
        g_free(*text);
        *text = g_value_dup_string(value);
    } else if (id == PROP_WIDTH) {
        self->width = g_value_get_uint(value);
    } else if (id == PROP_HEIGHT) {
        self->height = g_value_get_uint(value);
    } else if (id == PROP_EVERY) {
        self->every = g_value_get_uint(value);
    } else if (id == PROP_THRESHOLD) {
        self->threshold = g_value_get_float(value);
    } else {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    GST_OBJECT_UNLOCK(self);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    ViaductInfer *self = VIADUCT_INFER(object);
    gchar **text = text_of(self, id);

    GST_OBJECT_LOCK(self);
    if (text)
        g_value_set_string(value, *text);
    else if (id == PROP_WIDTH)
        g_value_set_uint(value, self->width);
    else if (id == PROP_HEIGHT)
        g_value_set_uint(value, self->height);
    else if (id == PROP_EVERY)
        g_value_set_uint(value, self->every);
    else if (id == PROP_THRESHOLD)
        g_value_set_float(value, self->threshold);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    GST_OBJECT_UNLOCK(self);
}

/* Where a name is in a list; -1: nowhere. NULL is the first. */
static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (!name || !strcmp(names[i], name))
            return i;
    }
    return -1;
}

/* Numbers that the model wants, from a file beside it, if there is one. */
static bool read_modelinfo(ViaductInfer *self, const struct npu_io *input)
{
    gchar *path = g_strconcat(self->model_path, ".modelinfo", NULL), *text = NULL;
    gsize size = 0;
    bool fine = true;

    if (g_file_get_contents(path, &text, &size, NULL) &&
        npu_picture_modelinfo(text, size, input, &self->picture)) {
        GST_ELEMENT_ERROR(self, RESOURCE, READ, ("%s: %s", path, npu_message()), (NULL));
        fine = false;
    }
    g_free(text);
    g_free(path);
    return fine;
}

static bool read_labels(ViaductInfer *self)
{
    GError *error = NULL;
    gchar *text = NULL;

    if (!self->labels_path)
        return true;
    if (!g_file_get_contents(self->labels_path, &text, NULL, &error)) {
        GST_ELEMENT_ERROR(self, RESOURCE, READ, ("%s", error->message), (NULL));
        g_error_free(error);
        return false;
    }
    self->labels = g_strsplit(text, "\n", INFER_LABELS);
    g_free(text);
    return true;
}

/* What is made of pictures before the model. */
static bool prepare_picture(ViaductInfer *self, const struct npu_info *info)
{
    static const char *const fits[] = {"stretch", "letterbox", "corner", "crop", NULL};
    static const char *const orders[] = {"rgb", "bgr", NULL};
    int fit = index_of(fits, self->fit), order = index_of(orders, self->order);

    if (fit < 0 || order < 0) {
        GST_ELEMENT_ERROR(self, LIBRARY, SETTINGS,
                          ("fit is stretch, letterbox, corner or crop; order is rgb or bgr"),
                          (NULL));
        return false;
    }
    if (info->input_count != 1 || npu_picture_guess(&info->inputs[0], &self->picture)) {
        GST_ELEMENT_ERROR(
            self, STREAM, FORMAT,
            ("%s: %s", self->model_path,
             info->input_count != 1 ? "a model with one input is needed" : npu_message()),
            (NULL));
        return false;
    }
    self->picture.fit = (enum npu_fit)fit;
    if (order == 1)
        self->picture.order = NPU_ORDER_BGR;
    self->picture.width = self->width;
    self->picture.height = self->height;
    return read_modelinfo(self, &info->inputs[0]);
}

/* With the display of the first picture: the model runs in its session. */
static bool open_model(ViaductInfer *self, GstBuffer *buffer)
{
    struct npu_options options = {.devices = self->device};
    const struct npu_info *info;
    GError *error = NULL;
    gchar *bytes = NULL;
    gsize size = 0;
    int err;

    if (!self->model_path || !g_file_get_contents(self->model_path, &bytes, &size, &error)) {
        GST_ELEMENT_ERROR(self, RESOURCE, OPEN_READ,
                          ("%s", error ? error->message : "no model is named: model=FILE"), (NULL));
        g_clear_error(&error);
        return false;
    }
    self->display = gst_object_ref(gst_va_buffer_peek_display(buffer));
    err = npu_open_display(gst_va_display_get_va_dpy(self->display), &self->npu);
    if (!err)
        err = npu_post_preset(self->post_name ? self->post_name : "classes", &self->post);
    if (!err && self->post.kind == NPU_POST_MAP) {
        g_free(bytes);
        GST_ELEMENT_ERROR(self, LIBRARY, SETTINGS, ("post=map gives no detections"), (NULL));
        return false;
    }
    if (!err)
        err = npu_load(self->npu, bytes, size, &options, &self->model);
    g_free(bytes);
    if (err) {
        GST_ELEMENT_ERROR(self, LIBRARY, INIT, ("%s: %s", self->model_path, npu_message()), (NULL));
        return false;
    }
    info = npu_model_info(self->model);
    if (self->threshold >= 0)
        self->post.threshold = self->threshold;
    self->posts = g_new0(const struct npu_post *, info->output_count + 1);
    self->outputs = g_new0(struct npu_tensor *, info->output_count + 1);
    self->posts[0] = &self->post;
    GST_INFO_OBJECT(self, "%s runs on %s", self->model_path, info->device);
    return read_labels(self) && prepare_picture(self, info);
}

static const char *label_of(ViaductInfer *self, float class, char room[32])
{
    /* Of texts the blank is no line of the file. */
    long at = self->post.kind == NPU_POST_TEXT ? (long)class - 1 : (long)class;

    for (long i = 0; self->labels && i <= at && self->labels[i]; i++) {
        if (i == at && *self->labels[i])
            return self->labels[i];
    }
    snprintf(room, 32, "class %ld", (long)class);
    return room;
}

static void add_region(GstBuffer *buffer, const GstVideoInfo *info, const char *label,
                       const float *row)
{
    float right = row[5] < (float)info->width ? row[5] : (float)info->width;
    float bottom = row[6] < (float)info->height ? row[6] : (float)info->height;
    float left = row[3] > 0 ? row[3] : 0, top = row[4] > 0 ? row[4] : 0;
    GstVideoRegionOfInterestMeta *meta;

    if (!(right > left) || !(bottom > top))
        return;
    meta = gst_buffer_add_video_region_of_interest_meta(
        buffer, label, (guint)left, (guint)top, (guint)(right - left), (guint)(bottom - top));
    gst_video_region_of_interest_meta_add_param(
        meta, gst_structure_new("detection", "class", G_TYPE_INT, (gint)row[1], "score",
                                G_TYPE_DOUBLE, (gdouble)row[2], NULL));
}

static void tell(ViaductInfer *self, GstBuffer *buffer, const struct npu_tensor *rows)
{
    const float *row = npu_tensor_data(rows);
    gint64 count = npu_tensor_dims(rows)[0], columns = npu_tensor_dims(rows)[1];
    GValue list = G_VALUE_INIT;
    GstStructure *all;

    g_value_init(&list, GST_TYPE_LIST);
    for (gint64 i = 0; i < count; i++, row += columns) {
        GValue value = G_VALUE_INIT;
        char room[32];
        const char *label = label_of(self, row[1], room);
        GstStructure *one = gst_structure_new(
            "detection", "item", G_TYPE_INT, (gint)row[0], "class", G_TYPE_INT, (gint)row[1],
            "label", G_TYPE_STRING, label, "score", G_TYPE_DOUBLE, (gdouble)row[2], NULL);

        if (columns == 7) {
            gst_structure_set(one, "x", G_TYPE_INT, (gint)row[3], "y", G_TYPE_INT, (gint)row[4],
                              "w", G_TYPE_INT, (gint)(row[5] - row[3]), "h", G_TYPE_INT,
                              (gint)(row[6] - row[4]), NULL);
            add_region(buffer, &self->info, label, row);
        }
        g_value_init(&value, GST_TYPE_STRUCTURE);
        g_value_take_boxed(&value, one);
        gst_value_list_append_and_take_value(&list, &value);
    }
    all = gst_structure_new("viaduct-infer", "frame", G_TYPE_UINT64, self->frames, "timestamp",
                            G_TYPE_UINT64, GST_BUFFER_PTS(buffer), NULL);
    gst_structure_take_value(all, "detections", &list);
    gst_element_post_message(GST_ELEMENT(self), gst_message_new_element(GST_OBJECT(self), all));
}

static GstFlowReturn look(ViaductInfer *self, GstBuffer *buffer)
{
    const struct npu_info *info = npu_model_info(self->model);
    struct npu_tensor *input = NULL;
    struct npu_call call = {.inputs = &input,
                            .input_count = 1,
                            .outputs = self->outputs,
                            .output_count = 1,
                            .posts = self->posts};
    int err;

    self->picture.surface = gst_va_buffer_get_surface(buffer);
    self->picture.full_range = self->info.colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255;
    self->picture.matrix = gst_video_color_matrix_to_iso(self->info.colorimetry.matrix);
    /* Unspecified: by the size of the picture. */
    if (self->picture.matrix == 2)
        self->picture.matrix = 0;
    self->outputs[0] = NULL;
    err = npu_tensor_create_picture(self->npu, &info->inputs[0], &self->picture, &input);
    if (!err)
        err = npu_run(self->model, &call);
    if (err)
        GST_ELEMENT_ERROR(self, LIBRARY, FAILED, ("%s", npu_message()), (NULL));
    else
        tell(self, buffer, self->outputs[0]);
    npu_tensor_destroy(self->outputs[0]);
    npu_tensor_destroy(input);
    return err ? GST_FLOW_ERROR : GST_FLOW_OK;
}

static GstFlowReturn transform_ip(GstBaseTransform *base, GstBuffer *buffer)
{
    ViaductInfer *self = VIADUCT_INFER(base);
    GstFlowReturn result = GST_FLOW_OK;

    if (!gst_va_buffer_peek_display(buffer)) {
        GST_ELEMENT_ERROR(self, STREAM, FORMAT, ("the picture is not in VA-API's memory"), (NULL));
        return GST_FLOW_ERROR;
    }
    if (!self->model && !open_model(self, buffer))
        return GST_FLOW_ERROR;
    if (self->frames % self->every == 0)
        result = look(self, buffer);
    self->frames++;
    return result;
}

static gboolean set_caps(GstBaseTransform *base, GstCaps *in, GstCaps *out)
{
    (void)out;
    return gst_video_info_from_caps(&VIADUCT_INFER(base)->info, in);
}

static gboolean stop(GstBaseTransform *base)
{
    ViaductInfer *self = VIADUCT_INFER(base);

    npu_unload(self->model);
    npu_close(self->npu);
    self->model = NULL;
    self->npu = NULL;
    gst_clear_object(&self->display);
    g_clear_pointer(&self->posts, g_free);
    g_clear_pointer(&self->outputs, g_free);
    g_clear_pointer(&self->labels, g_strfreev);
    self->frames = 0;
    return TRUE;
}

static void finalize(GObject *object)
{
    ViaductInfer *self = VIADUCT_INFER(object);

    for (guint id = PROP_MODEL; id <= PROP_ORDER; id++)
        g_free(*text_of(self, id));
    G_OBJECT_CLASS(viaduct_infer_parent_class)->finalize(object);
}

static void add_text(GObjectClass *class, guint id, const char *name, const char *about)
{
    g_object_class_install_property(
        class, id,
        g_param_spec_string(name, name, about, NULL, G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS));
}

static void add_number(GObjectClass *class, guint id, const char *name, const char *about,
                       guint least, guint otherwise)
{
    g_object_class_install_property(class, id,
                                    g_param_spec_uint(name, name, about, least, 16384, otherwise,
                                                      G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS));
}

static void viaduct_infer_class_init(ViaductInferClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    GstElementClass *element = GST_ELEMENT_CLASS(class);
    GstBaseTransformClass *transform = GST_BASE_TRANSFORM_CLASS(class);

    object->set_property = set_property;
    object->get_property = get_property;
    object->finalize = finalize;
    add_text(object, PROP_MODEL, "model", "The model, an ONNX file");
    add_text(object, PROP_POST, "post",
             "What is made of its first output: classes (default), softmax, yolov5, yolov8, "
             "yolov10, ssd, detr, text, regions");
    add_text(object, PROP_LABELS, "labels", "A file with names of classes, one a line");
    add_text(object, PROP_DEVICE, "device",
             "Where it runs on the host, best first, commas between");
    add_text(object, PROP_FIT, "fit", "stretch (default), letterbox, corner, crop");
    add_text(object, PROP_ORDER, "order", "rgb (default), bgr");
    add_number(object, PROP_WIDTH, "width", "Of the input, where the model leaves it open", 0, 0);
    add_number(object, PROP_HEIGHT, "height", "Of the input, where the model leaves it open", 0, 0);
    add_number(object, PROP_EVERY, "every", "Looks at each Nth picture", 1, 1);
    g_object_class_install_property(
        object, PROP_THRESHOLD,
        g_param_spec_float("threshold", "threshold",
                           "The least score that counts; below 0: the preset's", -1, 1, -1,
                           G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS));
    gst_element_class_set_static_metadata(element, "Inference on the host", "Filter/Analyzer/Video",
                                          "A model looks at pictures where they were decoded",
                                          "The Viaduct authors");
    gst_element_class_add_static_pad_template(element, &sink_template);
    gst_element_class_add_static_pad_template(element, &src_template);
    transform->transform_ip = transform_ip;
    transform->set_caps = set_caps;
    transform->stop = stop;
}

static void viaduct_infer_init(ViaductInfer *self)
{
    self->every = 1;
    self->threshold = -1;
    gst_base_transform_set_in_place(GST_BASE_TRANSFORM(self), TRUE);
}

static gboolean plugin_init(GstPlugin *plugin)
{
    return gst_element_register(plugin, "viaductinfer", GST_RANK_NONE, VIADUCT_TYPE_INFER);
}

#define PACKAGE "viaduct"
GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, viaduct,
                  "Inference on the host where pictures were decoded", plugin_init, VIADUCT_VERSION,
                  "MIT/X11", "Viaduct", "Viaduct")
