/* SPDX-License-Identifier: MIT */
#include "avcodec_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viaduct/errors.h>
#include <wire/log.h>

#include "config.h"

#if HAVE_VAAPI
#include <libavutil/hwcontext_vaapi.h>
#endif

static const struct {
    enum AVPixelFormat format;
    uint32_t fourcc;
} device_formats[] = {
    {AV_PIX_FMT_NV12, VA_FOURCC_NV12},     {AV_PIX_FMT_P010LE, VA_FOURCC_P010},
    {AV_PIX_FMT_P016LE, VA_FOURCC_P016},   {AV_PIX_FMT_YUV420P, VA_FOURCC_I420},
    {AV_PIX_FMT_YUVJ420P, VA_FOURCC_I420}, {AV_PIX_FMT_YUV420P10LE, VA_FOURCC_I010},
    {AV_PIX_FMT_YUV422P, VA_FOURCC_422H},  {AV_PIX_FMT_YUVJ422P, VA_FOURCC_422H},
    {AV_PIX_FMT_YUV440P, VA_FOURCC_422V},  {AV_PIX_FMT_YUVJ440P, VA_FOURCC_422V},
    {AV_PIX_FMT_YUV411P, VA_FOURCC_411P},  {AV_PIX_FMT_YUV444P, VA_FOURCC_444P},
    {AV_PIX_FMT_YUVJ444P, VA_FOURCC_444P}, {AV_PIX_FMT_GRAY8, VA_FOURCC_Y800},
    {AV_PIX_FMT_YUYV422, VA_FOURCC_YUY2},  {AV_PIX_FMT_UYVY422, VA_FOURCC_UYVY},
    {AV_PIX_FMT_Y210LE, VA_FOURCC_Y210},
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 36, 100)
    {AV_PIX_FMT_VUYX, VA_FOURCC_XYUV},     {AV_PIX_FMT_XV30LE, VA_FOURCC_Y410},
    {AV_PIX_FMT_XV36LE, VA_FOURCC_Y412},   {AV_PIX_FMT_Y212LE, VA_FOURCC_Y212},
    {AV_PIX_FMT_P012LE, VA_FOURCC_P012},
#endif
};

uint32_t avcodec_device_fourcc(enum AVPixelFormat format)
{
    for (size_t i = 0; i < sizeof(device_formats) / sizeof(device_formats[0]); i++) {
        if (device_formats[i].format == format)
            return device_formats[i].fourcc;
    }
    return 0;
}

const AVCodec *avcodec_device_decoder(const struct avcodec_device *device, enum AVCodecID id,
                                      enum AVPixelFormat *ret_format)
{
    const AVCodec *codec;
    void *state = NULL;

    while ((codec = av_codec_iterate(&state))) {
        const AVCodecHWConfig *config;

        /* Decoders of their own (h264_qsv, h264_v4l2m2m) say nothing of frames on their way. */
        if (codec->id != id || !av_codec_is_decoder(codec) ||
            codec->capabilities & (AV_CODEC_CAP_HARDWARE | AV_CODEC_CAP_HYBRID))
            continue;
        for (int i = 0; (config = avcodec_get_hw_config(codec, i)); i++) {
            if (config->device_type == device->type &&
                config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) {
                *ret_format = config->pix_fmt;
                return codec;
            }
        }
    }
    return NULL;
}

static void device_close(void *opaque)
{
    struct avcodec_device *device = opaque;

    av_buffer_unref(&device->ref);
    free(device);
}

/* `name`: a device type as FFmpeg names it, and after a colon what av_hwdevice_ctx_create takes. */
static int device_open(const char *name, const struct backend_options *options, void **ret_device)
{
    struct avcodec_device *device = calloc(1, sizeof(*device));
    const char *which = strchr(name, ':');
    char type[32];
    int err;

    (void)options;
    if (!device)
        return VD_ERR_MEMORY;
    av_log_set_callback(avcodec_log);
    snprintf(type, sizeof(type), "%.*s", (int)(which ? which - name : (long)strlen(name)), name);
    device->type = av_hwdevice_find_type_by_name(type);
    device->output_only = device->type == AV_HWDEVICE_TYPE_CUDA;
    if (device->type == AV_HWDEVICE_TYPE_NONE)
        goto fail;
    err = av_hwdevice_ctx_create(&device->ref, device->type, which ? which + 1 : NULL, NULL, 0);
    if (err < 0) {
        log_debug("avcodec: no device %s: %s", name, av_err2str(err));
        goto fail;
    }
#if HAVE_VAAPI
    if (device->type == AV_HWDEVICE_TYPE_VAAPI) {
        const AVHWDeviceContext *context = (const AVHWDeviceContext *)device->ref->data;

        device->display = ((const AVVAAPIDeviceContext *)context->hwctx)->display;
    }
#endif
    *ret_device = device;
    return 0;
fail:
    device_close(device);
    return VD_ERR_UNSUPPORTED;
}

#if HAVE_VAAPI
static bool va_profile_served(const struct avcodec_device *device, VAProfile profile)
{
    int count = vaMaxNumEntrypoints(device->display);
    VAEntrypoint *list = calloc((size_t)(count > 0 ? count : 0) + 1, sizeof(*list));
    bool found = false;

    if (!list || vaQueryConfigEntrypoints(device->display, profile, list, &count))
        count = 0;
    for (int i = 0; i < count; i++)
        found = found || list[i] == VAEntrypointVLD;
    free(list);
    return found;
}

/* Sizes and formats of a profile on a VA-API device. */
static AVHWFramesConstraints *va_constraints(const struct avcodec_device *device, VAProfile profile)
{
    AVVAAPIHWConfig *config = av_hwdevice_hwconfig_alloc(device->ref);
    AVHWFramesConstraints *constraints = NULL;

    if (config &&
        !vaCreateConfig(device->display, profile, VAEntrypointVLD, NULL, 0, &config->config_id)) {
        constraints = av_hwdevice_get_hwframe_constraints(device->ref, config);
        vaDestroyConfig(device->display, config->config_id);
    }
    av_free(config);
    return constraints;
}
#endif

/* Whether pictures in this format of the device can be shown in surfaces of that one. */
static bool leads_to(enum AVPixelFormat format, uint32_t fourcc)
{
    struct convert_samples samples;

    if (avcodec_device_fourcc(format) == fourcc)
        return true;
    return !avcodec_frame_samples(format, &samples) && convert_find(&samples, fourcc);
}

/* Narrows what software could serve to what the device can; false if nothing is left. */
static bool narrow(const AVHWFramesConstraints *constraints, struct vd_cap *cap)
{
    uint32_t formats[VD_MAX_CAP_FORMATS], count = cap->format_count;

    memcpy(formats, cap->formats, sizeof(formats));
    memset(cap->formats, 0, sizeof(cap->formats));
    cap->format_count = 0;
    cap->rt_formats = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;

        for (const enum AVPixelFormat *f = constraints->valid_sw_formats;
             f && *f != AV_PIX_FMT_NONE; f++)
            found = found || leads_to(*f, formats[i]);
        if (!found)
            continue;
        cap->formats[cap->format_count++] = formats[i];
        cap->rt_formats |= format_find(formats[i])->rt_format;
    }
    if (constraints->min_width > (int)cap->min_width)
        cap->min_width = (uint32_t)constraints->min_width;
    if (constraints->min_height > (int)cap->min_height)
        cap->min_height = (uint32_t)constraints->min_height;
    if (constraints->max_width < (int)cap->max_width)
        cap->max_width = (uint32_t)constraints->max_width;
    if (constraints->max_height < (int)cap->max_height)
        cap->max_height = (uint32_t)constraints->max_height;
    return cap->format_count > 0;
}

/* Codecs whose pictures libavcodec hands out one by one, as they were sent. */
static bool in_order(enum vd_codec codec)
{
    return codec == VD_CODEC_HEVC || codec == VD_CODEC_HEVC_EXT || codec == VD_CODEC_MPEG2 ||
           codec == VD_CODEC_VP8 || codec == VD_CODEC_JPEG;
}

static bool serves(const struct avcodec_device *device, struct vd_cap *cap)
{
    enum vd_codec codec = codecs_of_profile((int)cap->profile);
    const struct avcodec_codec *row = avcodec_codecs_find(codec);
    AVHWFramesConstraints *constraints = NULL;
    enum AVPixelFormat format;
    bool ok;

    if (!row || !avcodec_device_decoder(device, row->id, &format) ||
        (device->output_only && !in_order(codec)))
        return false;
#if HAVE_VAAPI
    if (device->display) {
        if (!va_profile_served(device, (VAProfile)cap->profile))
            return false;
        constraints = va_constraints(device, (VAProfile)cap->profile);
    }
#endif
    if (!constraints)
        constraints = av_hwdevice_get_hwframe_constraints(device->ref, NULL);
    ok = constraints && narrow(constraints, cap);
    av_hwframe_constraints_free(&constraints);
    return ok;
}

static uint32_t device_caps(void *opaque, struct vd_cap *ret_caps, uint32_t room)
{
    struct vd_cap caps[VD_MAX_CAPS];
    uint32_t count = avcodec_codecs_device_caps(caps, VD_MAX_CAPS), n = 0;

    for (uint32_t i = 0; i < count && n < room; i++) {
        if (serves(opaque, &caps[i]))
            ret_caps[n++] = caps[i];
    }
    return n;
}

/* Kinds of devices in order of preference, and a file without which trying is no use. */
static const struct {
    enum AVHWDeviceType type;
    const char *file;
    bool on_libva; /* never through our own driver unless asked for */
    bool asked_only;
} device_types[] = {
    {AV_HWDEVICE_TYPE_VAAPI, "/dev/dri/renderD128", true, false},
    {AV_HWDEVICE_TYPE_CUDA, "/dev/nvidiactl", false, false},
    {AV_HWDEVICE_TYPE_VULKAN, "/dev/dri/renderD128", false, false},
    {AV_HWDEVICE_TYPE_DRM, "/dev/dri/renderD128", false, false},
    {AV_HWDEVICE_TYPE_VDPAU, NULL, false, true}, /* wants an X server */
};

static uint32_t device_list(bool asked, char (*ret_devices)[BACKEND_DEVICE_BYTES], uint32_t room)
{
    const char *driver = getenv("LIBVA_DRIVER_NAME");
    bool own = driver && strstr(driver, "viaduct");
    uint32_t count = 0;

    for (size_t i = 0; i < sizeof(device_types) / sizeof(device_types[0]) && count < room; i++) {
        if (!asked && (device_types[i].asked_only || (own && device_types[i].on_libva)))
            continue;
        if (device_types[i].file && access(device_types[i].file, F_OK))
            continue;
        snprintf(ret_devices[count++], BACKEND_DEVICE_BYTES, "%s",
                 av_hwdevice_get_type_name(device_types[i].type));
    }
    return count;
}

const struct backend backend_avcodec_device = {
    .name = "avcodec",
    .devices = device_list,
    .open = device_open,
    .device_caps = device_caps,
    .close = device_close,
    .builder = avcodec_builder,
    .context_create = avcodec_context_create,
    .context_adopt = avcodec_context_adopt,
    .submit = avcodec_submit,
    .flush = avcodec_flush,
    .context_destroy = avcodec_context_destroy,
};
