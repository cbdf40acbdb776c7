/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <inttypes.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vaapi.h>
#include <libavutil/pixdesc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/npu.h>

/*
 * A video is decoded with VA-API by libavcodec, as any program does it, and a model looks at each
 * picture where it was decoded: no pixel comes to this process.
 *
 *     viaduct exec -- look --post text --labels keys.txt --part 100,200,640,48 --size 320x48
 * clip.mp4 rec.onnx viaduct exec -- look --post yolov8 --fit letterbox --labels coco.txt clip.mp4
 * yolov8n.onnx
 */

static const char usage_text[] =
    "usage: look [options] VIDEO MODEL\n"
    "  --post NAME        what is made of the first output (default: classes); list: --post help\n"
    "  --labels FILE      names of classes, one a line\n"
    "  --modelinfo FILE   numbers that the model wants (default: MODEL.modelinfo, if there)\n"
    "  --range LEAST,MOST what 0 and 255 become, instead\n"
    "  --order rgb|bgr    colours (default: rgb)\n"
    "  --fit NAME         stretch, letterbox, corner or crop (default: stretch)\n"
    "  --size WxH         of the input, where the model leaves it open\n"
    "  --part X,Y,W,H     of the picture; more than one: items of a batch\n"
    "  --threshold N      the least score that counts\n"
    "  --every N          looks at each Nth picture (default: 1)\n"
    "  --frames N         at most (default: all)\n"
    "  --device NAME,...  where the model runs, best first\n";

#define PARTS  64
#define LABELS 32768
/* Runs on their way: the decoder goes on meanwhile. */
#define AHEAD 4

struct look {
    const char *video, *model_path, *post_name, *modelinfo, *range, *labels_path, *device;
    struct npu_picture picture;
    struct npu_roi parts[PARTS];
    bool bgr;
    double threshold; /* below 0: the preset's */
    long every, most;
    char **labels;
    size_t label_count;
    /* libavformat, libavcodec */
    AVFormatContext *format;
    AVCodecContext *codec;
    AVBufferRef *hardware;
    int stream;
    /* the model */
    struct npu *npu;
    struct npu_model *model;
    struct npu_post post;
    const struct npu_post **posts;
    struct flight {
        AVFrame *frame; /* keeps the surface */
        struct npu_tensor *in, **out;
        struct npu_run *run;
        long number;
    } flights[AHEAD];
    long seen, looked;
};

static int failed(const char *what, const char *why)
{
    fprintf(stderr, "look: %s: %s\n", what, why);
    return 1;
}

static int av_failed(const char *what, int err)
{
    char text[AV_ERROR_MAX_STRING_SIZE];

    return failed(what, av_make_error_string(text, sizeof(text), err));
}

static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name))
            return i;
    }
    return -1;
}

static int list_posts(void)
{
    for (size_t i = 0; npu_post_preset_name(i); i++)
        puts(npu_post_preset_name(i));
    return 0;
}

static bool part(struct look *l, const char *text)
{
    struct npu_roi *r = &l->parts[l->picture.roi_count];

    if (l->picture.roi_count == PARTS ||
        sscanf(text, "%" SCNu32 ",%" SCNu32 ",%" SCNu32 ",%" SCNu32, &r->x, &r->y, &r->width,
               &r->height) != 4)
        return false;
    l->picture.roi_count++;
    return true;
}

static int parse(int argc, char **argv, struct look *l)
{
    static const char *const fits[] = {"stretch", "letterbox", "corner", "crop", NULL};
    static const char *const orders[] = {"rgb", "bgr", NULL};
    static const struct option options[] = {
        {"post", required_argument, NULL, 'p'},
        {"labels", required_argument, NULL, 'l'},
        {"modelinfo", required_argument, NULL, 'm'},
        {"range", required_argument, NULL, 'r'},
        {"order", required_argument, NULL, 'o'},
        {"fit", required_argument, NULL, 'f'},
        {"size", required_argument, NULL, 's'},
        {"part", required_argument, NULL, 'x'},
        {"threshold", required_argument, NULL, 't'},
        {"every", required_argument, NULL, 'e'},
        {"frames", required_argument, NULL, 'n'},
        {"device", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool fine = true;
    int o, n;

    while (fine && (o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 'p':
            l->post_name = optarg;
            break;
        case 'l':
            l->labels_path = optarg;
            break;
        case 'm':
            l->modelinfo = optarg;
            break;
        case 'r':
            l->range = optarg;
            break;
        case 'o':
            n = index_of(orders, optarg);
            fine = n >= 0;
            l->bgr = n == 1;
            break;
        case 'f':
            n = index_of(fits, optarg);
            fine = n >= 0;
            l->picture.fit = (enum npu_fit)n;
            break;
        case 's':
            fine =
                sscanf(optarg, "%" SCNu32 "x%" SCNu32, &l->picture.width, &l->picture.height) == 2;
            break;
        case 'x':
            fine = part(l, optarg);
            break;
        case 't':
            l->threshold = strtod(optarg, NULL);
            break;
        case 'e':
            l->every = strtol(optarg, NULL, 10);
            fine = l->every > 0;
            break;
        case 'n':
            l->most = strtol(optarg, NULL, 10);
            break;
        case 'd':
            l->device = optarg;
            break;
        case 'h':
            fputs(usage_text, stdout);
            exit(0);
        default:
            fine = false;
        }
        if (!fine && optarg)
            fprintf(stderr, "look: what is \"%s\"?\n", optarg);
    }
    if (!strcmp(l->post_name, "help"))
        exit(list_posts());
    if (!fine || optind + 2 != argc) {
        fputs(usage_text, stderr);
        return 2;
    }
    l->video = argv[optind];
    l->model_path = argv[optind + 1];
    return 0;
}

/* VA-API, or nothing: else the pictures would be in this process. */
static enum AVPixelFormat choose(AVCodecContext *codec, const enum AVPixelFormat *formats)
{
    (void)codec;
    for (; *formats != AV_PIX_FMT_NONE; formats++) {
        if (*formats == AV_PIX_FMT_VAAPI)
            return *formats;
    }
    fprintf(stderr, "look: VA-API has no decoder for this stream\n");
    return AV_PIX_FMT_NONE;
}

static int open_video(struct look *l)
{
    const AVCodec *decoder;
    int err = avformat_open_input(&l->format, l->video, NULL, NULL);

    if (err >= 0)
        err = avformat_find_stream_info(l->format, NULL);
    if (err >= 0)
        err = l->stream = av_find_best_stream(l->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (err < 0)
        return av_failed(l->video, err);
    err = av_hwdevice_ctx_create(&l->hardware, AV_HWDEVICE_TYPE_VAAPI, NULL, NULL, 0);
    if (err < 0)
        return av_failed("VA-API", err);
    l->codec = avcodec_alloc_context3(decoder);
    if (!l->codec)
        return failed(l->video, "out of memory");
    avcodec_parameters_to_context(l->codec, l->format->streams[l->stream]->codecpar);
    l->codec->hw_device_ctx = av_buffer_ref(l->hardware);
    l->codec->get_format = choose;
    /* Surfaces that runs still look at. */
    l->codec->extra_hw_frames = AHEAD + 1;
    err = avcodec_open2(l->codec, decoder, NULL);
    return err < 0 ? av_failed(l->video, err) : 0;
}

/* All of a file, and a zero behind it; NULL if it cannot be read. */
static char *read_all(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    char *bytes = NULL;
    long size;

    if (file && !fseek(file, 0, SEEK_END) && (size = ftell(file)) >= 0 &&
        !fseek(file, 0, SEEK_SET) && (bytes = malloc((size_t)size + 1))) {
        *ret_size = fread(bytes, 1, (size_t)size, file);
        bytes[*ret_size] = 0;
    }
    if (file)
        fclose(file);
    return bytes;
}

static int read_labels(struct look *l)
{
    size_t size;
    char *text, *line, *rest;

    if (!l->labels_path)
        return 0;
    text = rest = read_all(l->labels_path, &size);
    l->labels = calloc(LABELS, sizeof(*l->labels));
    if (!text || !l->labels)
        return failed(l->labels_path, "cannot be read");
    /* A text's labels may be a space: lines are kept as they are. */
    while (l->label_count < LABELS && (line = strsep(&rest, "\n"))) {
        if (rest || *line)
            l->labels[l->label_count++] = line;
    }
    return 0;
}

/* What 0 and 255 become, from the model's description or the command. */
static int read_numbers(struct look *l, const struct npu_io *input)
{
    char path[4096];
    size_t size;
    char *text;
    float least, most;
    int err;

    if (l->range) {
        if (sscanf(l->range, "%f,%f", &least, &most) != 2 || least == most)
            return failed("--range", "say LEAST,MOST");
        for (int i = 0; i < 3; i++) {
            l->picture.scale[i] = (most - least) / 255;
            l->picture.mean[i] = -least / l->picture.scale[i];
        }
        return 0;
    }
    snprintf(path, sizeof(path), "%s.modelinfo", l->model_path);
    text = read_all(l->modelinfo ? l->modelinfo : path, &size);
    if (!text)
        return l->modelinfo ? failed(l->modelinfo, "cannot be read") : 0;
    err = npu_picture_modelinfo(text, size, input, &l->picture);
    free(text);
    return err ? failed(l->modelinfo ? l->modelinfo : path, npu_message()) : 0;
}

static int open_model(struct look *l)
{
    const AVHWDeviceContext *device = (const AVHWDeviceContext *)(const void *)l->hardware->data;
    const AVVAAPIDeviceContext *va = device->hwctx;
    struct npu_options options = {.devices = l->device};
    struct npu_picture wanted = l->picture;
    const struct npu_info *info;
    size_t size;
    char *bytes;
    int err;

    if (npu_post_preset(l->post_name, &l->post) || npu_open_display(va->display, &l->npu))
        return failed("inference", npu_message());
    if (l->threshold >= 0)
        l->post.threshold = (float)l->threshold;
    bytes = read_all(l->model_path, &size);
    if (!bytes)
        return failed(l->model_path, "cannot be read");
    err = npu_load(l->npu, bytes, size, &options, &l->model);
    free(bytes);
    if (err)
        return failed(l->model_path, npu_message());
    info = npu_model_info(l->model);
    if (info->input_count != 1 || npu_picture_guess(&info->inputs[0], &l->picture))
        return failed(l->model_path,
                      info->input_count != 1 ? "it has not one input" : npu_message());
    l->picture.fit = wanted.fit;
    l->picture.width = wanted.width;
    l->picture.height = wanted.height;
    l->picture.rois = l->parts;
    l->picture.roi_count = wanted.roi_count;
    if (l->bgr)
        l->picture.order = NPU_ORDER_BGR;
    l->posts = calloc(info->output_count + 1, sizeof(*l->posts));
    if (!l->posts)
        return failed(l->model_path, "out of memory");
    l->posts[0] = &l->post;
    fprintf(stderr, "look: %s runs on %s\n", l->model_path, info->device);
    return read_numbers(l, &info->inputs[0]);
}

static const char *label(const struct look *l, float class)
{
    /* Of texts the blank is no line of the file, and the space comes last. */
    long at = l->post.kind == NPU_POST_TEXT ? (long)class - 1 : (long)class;

    if (at >= 0 && (size_t)at < l->label_count)
        return l->labels[at];
    return l->post.kind == NPU_POST_TEXT && l->label_count ? " " : NULL;
}

/* Letters of each item, and how sure the model is on the average. */
static void print_texts(const struct look *l, long number, const float *row, int64_t rows)
{
    for (int64_t i = 0; i < rows;) {
        float item = row[3 * i], sum = 0;
        int64_t first = i;

        printf("%ld item %d text \"", number, (int)item);
        for (; i < rows && row[3 * i] == item; i++) {
            const char *letter = label(l, row[3 * i + 1]);

            if (letter)
                fputs(letter, stdout);
            else
                printf("<%d>", (int)row[3 * i + 1]);
            sum += row[3 * i + 2];
        }
        printf("\" %.3f\n", (double)sum / (double)(i - first));
    }
}

static void print_rows(const struct look *l, long number, const struct npu_tensor *t)
{
    const float *row = npu_tensor_data(t);
    int64_t rows = npu_tensor_dims(t)[0], columns = npu_tensor_dims(t)[1];

    if (l->post.kind == NPU_POST_TEXT) {
        print_texts(l, number, row, rows);
        return;
    }
    for (int64_t i = 0; i < rows; i++, row += columns) {
        const char *name = label(l, row[1]);

        printf("%ld item %d class %d %s%s%.3f", number, (int)row[0], (int)row[1], name ? name : "",
               name ? " " : "", (double)row[2]);
        if (columns == 7)
            printf(" at %.0f,%.0f size %.0fx%.0f", (double)row[3], (double)row[4],
                   (double)(row[5] - row[3]), (double)(row[6] - row[4]));
        puts("");
    }
}

/* How many places have each value. */
static void print_map(long number, const struct npu_tensor *t)
{
    const uint8_t *bytes = npu_tensor_data(t);
    size_t counts[256] = {0};

    for (size_t i = 0; i < npu_tensor_bytes(t); i++)
        counts[bytes[i]]++;
    printf("%ld map", number);
    for (int i = 0; i < 256; i++) {
        if (counts[i])
            printf(" %d:%zu", i, counts[i]);
    }
    puts("");
}

static int land(struct look *l, struct flight *f)
{
    size_t outputs = npu_model_info(l->model)->output_count;
    int err = 0;

    if (!f->run)
        return 0;
    if (npu_wait(f->run, UINT64_MAX))
        err = failed("run", npu_message());
    else if (l->post.kind == NPU_POST_MAP)
        print_map(f->number, f->out[0]);
    else
        print_rows(l, f->number, f->out[0]);
    npu_run_destroy(f->run);
    npu_tensor_destroy(f->in);
    for (size_t i = 0; i < outputs; i++)
        npu_tensor_destroy(f->out[i]);
    free(f->out);
    av_frame_free(&f->frame);
    *f = (struct flight){0};
    return err;
}

static int look_at(struct look *l, const AVFrame *frame)
{
    struct flight *f = &l->flights[l->looked % AHEAD];
    const struct npu_info *info = npu_model_info(l->model);
    struct npu_call call = {
        .inputs = &f->in, .input_count = 1, .output_count = 1, .posts = l->posts};
    int err = land(l, f);

    if (err)
        return err;
    l->picture.surface = (uint32_t)(uintptr_t)frame->data[3];
    l->picture.full_range = frame->color_range == AVCOL_RANGE_JPEG;
    l->picture.matrix = frame->colorspace == AVCOL_SPC_BT709        ? 1
                        : frame->colorspace == AVCOL_SPC_BT2020_NCL ? 9
                        : frame->colorspace == AVCOL_SPC_SMPTE170M  ? 6
                        : frame->colorspace == AVCOL_SPC_BT470BG    ? 5
                                                                    : 0;
    f->number = l->seen;
    f->frame = av_frame_clone(frame);
    f->out = calloc(info->output_count, sizeof(*f->out));
    if (!f->frame || !f->out)
        return failed("look", "out of memory");
    call.outputs = f->out;
    if (npu_tensor_create_picture(l->npu, &info->inputs[0], &l->picture, &f->in) ||
        npu_submit(l->model, &call, &f->run))
        return failed("run", npu_message());
    l->looked++;
    return 0;
}

static int take_frames(struct look *l, AVFrame *frame)
{
    int err;

    while ((err = avcodec_receive_frame(l->codec, frame)) >= 0) {
        int code = 0;

        if (l->seen % l->every == 0 && (!l->most || l->looked < l->most))
            code = look_at(l, frame);
        l->seen++;
        av_frame_unref(frame);
        if (code)
            return code;
    }
    return err == AVERROR(EAGAIN) || err == AVERROR_EOF ? 0 : av_failed(l->video, err);
}

static int play(struct look *l)
{
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int code = packet && frame ? 0 : failed("look", "out of memory"), err = 0;

    while (!code && !(l->most && l->looked >= l->most)) {
        err = av_read_frame(l->format, packet);
        if (err < 0)
            break;
        if (packet->stream_index == l->stream) {
            err = avcodec_send_packet(l->codec, packet);
            code = err < 0 ? av_failed(l->video, err) : take_frames(l, frame);
        }
        av_packet_unref(packet);
    }
    if (!code && err < 0) {
        avcodec_send_packet(l->codec, NULL);
        code = take_frames(l, frame);
    }
    for (long i = 0; i < AHEAD; i++) {
        int late = land(l, &l->flights[(l->looked + i) % AHEAD]);

        code = code ? code : late;
    }
    av_frame_free(&frame);
    av_packet_free(&packet);
    return code;
}

static void finish(struct look *l)
{
    npu_unload(l->model);
    npu_close(l->npu);
    avcodec_free_context(&l->codec);
    avformat_close_input(&l->format);
    av_buffer_unref(&l->hardware);
    free(l->posts);
    if (l->labels)
        free(l->labels[0]);
    free(l->labels);
}

int main(int argc, char **argv)
{
    struct look l = {.post_name = "classes", .threshold = -1, .every = 1};
    int code = parse(argc, argv, &l);

    if (!code)
        code = read_labels(&l);
    if (!code)
        code = open_video(&l);
    if (!code)
        code = open_model(&l);
    if (!code)
        code = play(&l);
    if (!code)
        fprintf(stderr, "look: %ld pictures, looked at %ld\n", l.seen, l.looked);
    finish(&l);
    return code;
}
